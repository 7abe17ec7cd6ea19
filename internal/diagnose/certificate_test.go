package diagnose

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// issuedBy is a certificate whose issuer has these organizational units.
func issuedBy(units ...string) certificate {
	var rdns pkix.RDNSequence
	for _, unit := range units {
		rdns = append(rdns, pkix.RelativeDistinguishedNameSET{{Type: asn1.ObjectIdentifier{2, 5, 4, 11}, Value: unit}})
	}
	c := &x509.Certificate{}
	c.Issuer.FillFromRDNSequence(&rdns)
	return certificate{c}
}

func TestIssuerOfManyPartsTakesNoTime(t *testing.T) {
	require.Empty(t, certificate{}.issuer())
	require.Empty(t, issuedBy().issuer())
	require.Equal(t, "OU=a+OU=b", issuedBy("a", "b").issuer())
	require.Equal(t, strings.TrimSuffix(strings.Repeat("OU=a+", maxNameParts), "+"),
		issuedBy(strings.Split(strings.Repeat("a", maxNameParts), "")...).issuer())

	hostile := issuedBy(strings.Split(strings.Repeat("a", 50_000), "")...)
	began := time.Now()
	require.Equal(t, strings.TrimSuffix(strings.Repeat("OU=a+", maxNameParts), "+")+"…", hostile.issuer())
	require.Less(t, time.Since(began), time.Second)
}
