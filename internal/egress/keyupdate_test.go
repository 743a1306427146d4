package egress_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/egress/egresstest"
)

// expand is HKDF-Expand-Label with an empty context (RFC 8446 section 7.1).
func expand(t *testing.T, secret []byte, label string, size int) []byte {
	t.Helper()
	label = "tls13 " + label
	info := append([]byte{0, byte(size), byte(len(label))}, label...)
	out, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), size)
	if err != nil {
		t.Error(err)
	}
	return out
}

// sealed returns a record of TLS 1.3 (RFC 8446 section 5.2).
func sealed(t *testing.T, suite uint16, secret []byte, sequence uint64, kind byte, text string) []byte {
	t.Helper()
	if suite != tls.TLS_AES_128_GCM_SHA256 {
		t.Error("the test needs a machine with AES in hardware")
	}
	block, err := aes.NewCipher(expand(t, secret, "key", 16))
	if err != nil {
		t.Error(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Error(err)
	}
	nonce := expand(t, secret, "iv", 12)
	binary.BigEndian.PutUint64(nonce[4:], binary.BigEndian.Uint64(nonce[4:])^sequence)
	inner := append([]byte(text), kind)
	head := []byte{23, 3, 3, 0, byte(len(inner) + aead.Overhead())}
	return aead.Seal(head, nonce, inner, head)
}

// A receiver may ask for new keys while a connection is idle. The reply is written when the
// connection is used again, and the deadline of the last request does not spoil it.
func TestKeyUpdate(t *testing.T) {
	const host, ok = "shop.example", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	ca := egresstest.NewCA(t)
	var log bytes.Buffer
	config := ca.Server(host)
	config.KeyLogWriter, config.MinVersion, config.SessionTicketsDisabled = &log, tls.VersionTLS13, true
	idle := make(chan bool)
	receiver := egresstest.NewReceiver(t, func(raw net.Conn) {
		c := tls.Server(raw, config)
		n := 0
		egresstest.Requests(func(net.Conn) bool {
			line := log.Bytes()[bytes.Index(log.Bytes(), []byte("SERVER_TRAFFIC_SECRET_0 ")):]
			secret, err := hex.DecodeString(string(bytes.Fields(line)[2]))
			if err != nil {
				t.Error(err)
			}
			suite := c.ConnectionState().CipherSuite
			if n++; n == 1 {
				io.WriteString(c, ok)
				raw.Write(sealed(t, suite, secret, 1, 22, "\x18\x00\x00\x01\x01")) // the first record was the answer
				idle <- true
				return true
			}
			raw.Write(sealed(t, suite, expand(t, secret, "traffic upd", 32), 0, 23, ok))
			return true
		})(c)
	})
	var dialed net.Conn
	c := newClient(t, egress.Options{AllowNetworks: loopback, RootCAs: ca.Pool(), Resolver: egresstest.NewResolver().Set(host, []string{"127.0.0.1"}),
		DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			dialed, err = new(net.Dialer).DialContext(ctx, network, address)
			return dialed, err
		}})
	for i := range 2 {
		res, err := c.Post(t.Context(), egress.Request{URL: receiver.URL("https", host), Body: []byte("x"), Timeout: 20 * time.Second})
		if err != nil || res.Status != 200 || res.Repeated || res.Timing.Reused != (i == 1) {
			t.Errorf("request %d: %+v, %v", i, res, err)
		}
		if i == 0 {
			<-idle
			dialed.SetDeadline(time.Unix(1, 0)) // as when the first request's time is up
		}
	}
}
