package hook

import "math/big"

// base62 are the digits of the short form of ids, in the order of ASCII, so that texts of
// one length sort like the values.
const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// MessagePrefix begins the short form of an event's id.
const MessagePrefix = "msg_"

// shortLength is how many digits of base 62 hold 20 bytes.
const shortLength = 27

// Short returns at most 20 bytes as 27 digits of base 62. Texts of values of one length
// sort like the values.
func Short(value []byte) string {
	n := new(big.Int).SetBytes(value)
	var out [shortLength]byte
	digit, base := new(big.Int), big.NewInt(62)
	for i := shortLength - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		out[i] = base62[digit.Int64()]
	}
	return string(out[:])
}

// ParseShort reads what Short returned for a value of size bytes. It reports false for
// every other text.
func ParseShort(text string, size int) ([]byte, bool) {
	if len(text) != shortLength {
		return nil, false
	}
	n, base := new(big.Int), big.NewInt(62)
	for i := 0; i < len(text); i++ {
		c, digit := text[i], 0
		switch {
		case '0' <= c && c <= '9':
			digit = int(c - '0')
		case 'A' <= c && c <= 'Z':
			digit = int(c-'A') + 10
		case 'a' <= c && c <= 'z':
			digit = int(c-'a') + 36
		default:
			return nil, false
		}
		n.Add(n.Mul(n, base), big.NewInt(int64(digit)))
	}
	if n.BitLen() > 8*size {
		return nil, false
	}
	return n.FillBytes(make([]byte, size)), true
}

// Short returns the id as 27 digits of base 62, in the order of ids.
func (id ID) Short() string { return Short(id[:]) }
