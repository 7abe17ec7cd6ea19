package redact_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"

	"github.com/fleetotel/telemetry/internal/redact"
)

// numbering is a way in which shops number things; # is a random digit.
type numbering struct{ name, form string }

var numberings = []numbering{
	{"16 random digits", "################"},
	{"16 digits from 4 on", "4###############"},
	{"15 digits of an issuer", "37#############"},
	{"13 digits from 4 on, a shop system", "4############"},
	{"13 digits from 5 on, a shop system", "50###########"},
	{"19 digits, a snowflake", "62#################"},
}

func (n numbering) next(random *rand.Rand) string {
	number := []byte(n.form)
	for i := range number {
		if number[i] == '#' {
			number[i] = byte('0' + random.IntN(10))
		}
	}
	if number[0] == '0' {
		number[0] = '1'
	}
	return string(number)
}

// identifierContexts name a number; % stands for it.
var identifierContexts = []string{
	"order %", "order #%", "order no. % shipped", "Order number: %", "order id is %", "orders: %", "parcel % delivered",
	"tracking number %", "customer % signed in", "product %", "invoice %", "payment id %", "id %",
	"order_id=%", "orderId=%", "orderid: %", "order-id=%", "?order=%&page=2", "/orders/%",
	"GET /api/v1/orders/%/items HTTP/1.1",
	"https://shop.example/customers/%?page=2", "?next=%2Forders%2F%", "x-order-id: %", `{"order_id":%}`,
	`{"orderId":"%","total":12}`,
	`{\"order_id\": \"%\"}`, `{"order":{"id":%}}`, `{"order_ids":[%,%]}`, "order_ids=[%, %]", "order='%'", "order-%",
	"ORD-%", "tracking_number=%", "SELECT * FROM orders WHERE order_id = %", "order (%) failed", "{OrderID:%}",
	"<order_id>%</order_id>",
}

// placed puts a number into a context that may hold escapes of its own.
func placed(context, number string) string {
	const escape = "\x00"
	text := strings.ReplaceAll(context, "%2F", escape)
	return strings.ReplaceAll(strings.ReplaceAll(text, "%", number), escape, "%2F")
}

func TestNumbersThatAreNamedAsIdentifiersStay(t *testing.T) {
	const n = 2_000
	r := defaults(t)
	random := rand.New(rand.NewPCG(3, 4))
	for _, numbering := range numberings {
		masked := 0
		for range n {
			number := numbering.next(random)
			for _, context := range identifierContexts {
				text := placed(context, number)
				if got, hits := r.Text(text); hits > 0 {
					masked++
					t.Errorf("%s\n got %s", text, got)
				}
			}
			if t.Failed() {
				break
			}
		}
		share := float64(masked) / float64(n*len(identifierContexts))
		bare := shareMasked(r, numbering, random)
		t.Logf("%-36s masked: bare %5.2f %%, named as an identifier %5.2f %%", numbering.name, 100*bare, 100*share)
		require.Less(t, share, 0.002)
		require.Less(t, bare, 0.11, "one in ten passes the check digit")
	}
}

func shareMasked(r *redact.Redactor, numbering numbering, random *rand.Rand) float64 {
	const n = 50_000
	masked := 0
	for range n {
		_, hits := r.Text(numbering.next(random))
		masked += hits
	}
	return float64(masked) / n
}

func TestIdentifiersOfEveryTypeStay(t *testing.T) {
	r := defaults(t)
	const number = 4111111111111111
	for _, key := range []string{"order_id", "order.id", "orderId", "order.number", "parcel", "tracking_number",
		"customer.id", "db.query.parameter.order_id"} {
		attrs := []attribute.KeyValue{
			attribute.Int64(key, number), attribute.Float64(key, number), attribute.Int64Slice(key, []int64{1, number}),
			attribute.Float64Slice(key, []float64{number}), attribute.String(key, card),
			attribute.String(key, "ORD-"+card),
			attribute.String(key, card+", "+card), attribute.StringSlice(key, []string{card}),
			attribute.ByteSlice(key, []byte(card)),
			attribute.Slice(key, attribute.StringValue(card)), attribute.Map("shop", attribute.Int64(key, number)),
		}
		got, hits := r.Attributes(attrs)
		require.Equal(t, attrs, got, key)
		require.Zero(t, hits)

		for _, value := range []any{int64(number), uint64(number), float64(number), card, fmt.Errorf("%s", card),
			[]int64{number}} {
			attr := slog.Any(key, value)
			require.Equal(t, attr, r.SlogJSON(nil, attr), key)
			require.Equal(t, attr, r.SlogText(nil, attr), key)
		}
	}
	var out bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{ReplaceAttr: r.SlogJSON}))
	logger.Info("shipped", slog.Group("order", slog.Int64("number", number), slog.Int64("amount", number)))
	require.Contains(t, out.String(), `"order":{"number":4111111111111111,"amount":"`+redact.Marker+`"}`)
}

// An order's key frees no card that stands below it, beside it, or in groups.
func TestIdentifiersDoNotFreeCards(t *testing.T) {
	r := defaults(t)
	tests := []struct{ name, key, text string }{
		{name: "in groups", key: "order_id", text: "4111 1111 1111 1111"},
		{name: "in groups with dashes", key: "order_id", text: "4111-1111-1111-1111"},
		{name: "in groups of an American Express card", key: "tracking_number", text: "3782 822463 10005"},
		{name: "in groups, named in the text", text: "order 4111 1111 1111 1111"},
		{name: "in groups in a path", text: "/orders/4111-1111-1111-1111"},
		{name: "a sentence under an order's key", key: "order", text: "paid with 4111111111111111"},
		{name: "a card under an order's key", key: "order", text: "card-4111111111111111"},
		{name: "an object under an order's key", key: "order", text: `{"id":17,"number":"4111111111111111"}`},
		{name: "a pair under an order's key", key: "order", text: "id=17 n=4111111111111111"},
		{name: "a card's key that ends with id", key: "card_id", text: card},
		{name: "a card's number", text: "card number 4111111111111111"},
		{name: "a card's id", text: "card id: 4111111111111111"},
		{name: "a card after an order", text: "order 17 card 4111111111111111"},
		{name: "a card after an order's id", text: "order_id=17&n=4111111111111111"},
		{name: "a number after an order's number", text: "order 17, 4111111111111111"},
		{name: "another member", text: `{"order_id":17,"n":4111111111111111}`},
		{name: "a further segment", text: "/orders/17/pay/4111111111111111"},
		{name: "an order's card", text: "order.card=4111111111111111"},
		{name: "what a customer paid with", text: "customer paid with 4111111111111111"},
		{name: "a number alone", text: "number 4111111111111111"},
		{name: "the number of an account", text: "account number 4111111111111111"},
		{name: "another list", text: "order_ids=[17] cards=[4111111111111111]"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, hits := sample{key: test.key, text: test.text}.redacted(r, test.text)
			require.Equal(t, 1, hits, got)
			require.Contains(t, got, redact.Marker)
		})
	}
}

// issuer is a row of the networks' published tables, written down here once more: the rules were
// not made from it.
type issuer struct {
	name     string
	prefixes []string
	lengths  []int
}

var issuers = []issuer{
	{"Visa", []string{"4"}, []int{13, 16, 19}},
	{"Mastercard", []string{"51", "52", "53", "54", "55", "2221", "2229", "223", "229", "23", "26", "270", "271",
		"2720"}, []int{16}},
	{"American Express", []string{"34", "37"}, []int{15}},
	{"Diners Club", []string{"300", "305", "3095", "36", "38", "39"}, []int{14, 16, 17, 18, 19}},
	{"Discover", []string{"6011", "644", "649", "65"}, []int{16, 17, 18, 19}},
	{"JCB", []string{"3528", "3589", "353", "358"}, []int{16, 17, 18, 19}},
	{"UnionPay", []string{"62"}, []int{16, 17, 18, 19}},
	{"Maestro", []string{"5018", "5020", "5038", "5893", "6304", "6759", "6761", "6762", "6763"},
		[]int{12, 13, 14, 15, 16, 17, 18, 19}},
	{"Mir", []string{"2200", "2204"}, []int{16, 17, 18, 19}},
	{"RuPay", []string{"60", "65", "81", "82"}, []int{16}},
}

// number returns one with a valid check digit.
func (i issuer) number(random *rand.Rand, prefix string, length int) string {
	number := prefix
	for len(number) < length-1 {
		number += strconv.Itoa(random.IntN(10))
	}
	for check := range 10 {
		if candidate := number + strconv.Itoa(check); passesLuhn(candidate) {
			return candidate
		}
	}
	panic("one of ten check digits is right")
}

func passesLuhn(number string) bool {
	sum := 0
	for i := range len(number) {
		d := int(number[len(number)-1-i] - '0')
		if i%2 == 1 {
			d = d*2/10 + d*2%10
		}
		sum += d
	}
	return sum%10 == 0
}

// inGroups writes a number as cards have it printed on them.
func inGroups(number, separator string) string {
	if len(number) == 15 || len(number) == 14 {
		return number[:4] + separator + number[4:10] + separator + number[10:]
	}
	groups := ""
	for i := 0; i < len(number); i += 4 {
		if i > 0 {
			groups += separator
		}
		groups += number[i:min(i+4, len(number))]
	}
	return groups
}

func TestCardsOfEveryIssuerAreMasked(t *testing.T) {
	contexts := []string{
		"%", "card % declined", "paid with %.", "PAN: %", `{"n":"%"}`, `{"n": %}`, "/pay/%/verify", "n=%&c=EUR", "(%)",
		"[%]", "'%'", "customer's card: %", "order 17 card %", "order_id=17&pay=%", `{"order":17,"payment":"%"}`,
		"/orders/17/cards/%",
		"could not charge %: insufficient funds", "id card %", "card no. %", "account number %", "\t%\n",
		"<pan>%</pan>", "payment with\u00a0%",
	}
	r := defaults(t)
	random := rand.New(rand.NewPCG(5, 6))
	for _, issuer := range issuers {
		for _, prefix := range issuer.prefixes {
			for _, length := range issuer.lengths {
				for range 20 {
					number := issuer.number(random, prefix, length)
					forms := []string{number}
					for _, separator := range []string{" ", "-", ".", "%20", "+", "_", "\u00a0", "\t"} {
						forms = append(forms, inGroups(number, separator))
					}
					for _, form := range forms {
						for _, context := range contexts {
							text := strings.Replace(context, "%", form, 1)
							if got, _ := r.Text(text); !strings.Contains(got, redact.Marker) ||
								hasDigitsOf(got, number) {
								t.Errorf("%s, %d digits: %q became %q", issuer.name, length, text, got)
							}
						}
					}
				}
			}
		}
	}
}

// hasDigitsOf tells whether the last digits of a number are left.
func hasDigitsOf(text, number string) bool { return strings.Contains(text, number[len(number)-6:]) }
