package redact

// What is masked under its key by default: what opens an account, what pays (PCI DSS: account data
// and sensitive authentication data), and the numbers that states and banks identify a person by.
// Names, mail addresses and phone numbers are personal data, too, but telemetry is searched by
// them. A service that must not send them adds their keys. session.id is an identifier of the
// semantic conventions and not the cookie; "tokens" are counted.
var sensitiveTerms = []string{
	// Passwords and codes.
	"password", "passwords", "passwd", "pwd", "passphrase", "passcode", "dbpass", "userpass", "adminpass", "smtppass",
	"pin", "pinblock", "otp", "totp", "otpcode", "mfacode", "onetimecode",
	// Tokens and other credentials of requests.
	"authorization", "basicauth", "bearer", "jwt", "cookie", "cookies", "setcookie", "jsessionid", "phpsessid",
	"connectsid", "token", "accesstoken", "refreshtoken", "idtoken", "authtoken", "apitoken", "bearertoken",
	"sessiontoken", "csrftoken", "xsrftoken", "securitytoken",
	// Keys.
	"secret", "secrets", "clientsecret", "credential", "credentials", "apikey", "apikeys", "secretkey", "privatekey",
	"accesskey", "accesskeyid", "sharedkey", "signingkey", "encryptionkey", "masterkey", "subscriptionkey",
	"accountkey", "authkey", "sshkey", "sessionkey",
	// Cards.
	"pan", "primaryaccountnumber", "creditcard", "debitcard", "cardnumber", "cardnum", "cardno", "creditcardnumber",
	"debitcardnumber", "ccnumber", "ccnum", "ccno", "cvv", "cvc", "cvvcode", "cvccode", "securitycode", "cardcode",
	"cardverificationvalue", "cardverificationcode", "cardholder", "cardholdername", "nameoncard", "cardexpiry",
	"cardexpiration", "cardexpirydate", "track1", "track2", "trackdata", "magstripe",
	// Bank accounts and persons.
	"iban", "bankaccount", "bankaccountnumber", "ssn", "socialsecuritynumber",
}

// queryTerms are sensitive in a URL's query only: signatures of pre-signed URLs, as the semantic
// conventions ask of url.query and url.full.
var queryTerms = []string{"signature", "sig"}

// scannedTerms end like a sensitive one and are not: places in a list of results.
var scannedTerms = []string{"pagetoken", "nexttoken", "continuationtoken", "synctoken", "cancellationtoken"}

// skippedTerms hold hexadecimal numbers, one in many thousands of which looks like a card's.
var skippedTerms = []string{"traceid", "spanid", "traceparent"}

// endings are sensitive at the end of a word, too: no other English word ends so.
var endings = []string{"password", "passwd", "passphrase"}

// forms may follow a term: they say how the value stands there.
var forms = map[string]bool{
	"value": true, "values": true, "raw": true, "header": true, "string": true, "text": true, "plain": true,
	"hash":         true,
	"confirmation": true, "confirm": true, "repeat": true,
}

// What makes a number an identifier, see role: "id" does alone, unless it is a card's; "number"
// does behind what is numbered.
var (
	identifierWords = []string{"id", "ids", "uid", "uuid", "guid", "identifier"}
	numberWords     = []string{"number", "numbers", "no", "nos", "nr", "num", "ref", "reference", "code", "is", "was"}
	cardWords       = []string{"card", "cards", "creditcard", "debitcard", "credit", "debit", "cc", "pan", "visa",
		"mastercard", "amex", "maestro"}
)

// numbered are the things that a shop and its systems number. "payment", "account" and
// "transaction" are not among them, nor "message" and "event": what follows them may well be a
// card.
var numbered = func() map[string]bool {
	things := map[string]bool{}
	for _, thing := range []string{
		"order", "ord", "po", "cart", "basket", "invoice", "inv", "receipt", "quote", "subscription", "parcel",
		"package", "shipment", "delivery", "tracking", "waybill", "awb", "consignment", "rma", "customer", "user",
		"member", "merchant", "seller", "vendor", "supplier", "store", "shop", "warehouse", "branch", "product",
		"article", "item", "sku", "variant", "barcode", "ean", "gtin", "upc", "isbn", "lot", "serial", "asset",
		"ticket", "booking", "reservation", "campaign", "offset", "sequence", "imei", "iccid",
	} {
		things[thing], things[thing+"s"] = true, true
	}
	things["deliveries"], things["branches"] = true, true
	return things
}()
