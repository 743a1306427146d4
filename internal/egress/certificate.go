package egress

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// maxPEMFile bounds a file of certificates, in bytes. The roots of a system take about a
// quarter of it.
const maxPEMFile = 1 << 20

// Certificate describes a certificate that the operator configured.
type Certificate struct {
	File                string
	Subject             string // in the form of RFC 2253
	NotBefore, NotAfter time.Time
}

// Fault returns why the certificate is not valid at the given time, or "" if it is.
func (c Certificate) Fault(now time.Time) string {
	switch {
	case now.Before(c.NotBefore):
		return "not valid before " + c.NotBefore.UTC().Format(time.RFC3339)
	case now.After(c.NotAfter):
		return "expired at " + c.NotAfter.UTC().Format(time.RFC3339)
	}
	return ""
}

// ReadAuthorities returns a pool of the system's authorities and those in the PEM files,
// and a list of the latter. An error names the file and the reason.
func ReadAuthorities(files []string) (*x509.CertPool, []Certificate, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // the system has none, so only those in the files count
	}
	var added []Certificate
	for _, file := range files {
		text, err := readPEM(file)
		if err != nil {
			return nil, nil, err
		}
		before := len(added)
		for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
			if block.Type != "CERTIFICATE" {
				continue
			}
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: certificate %d cannot be read: %w", file, len(added)-before+1, err)
			}
			pool.AddCert(cert)
			added = append(added, described(file, cert))
		}
		if len(added) == before {
			return nil, nil, fmt.Errorf("%s: there is no certificate in it; it must hold PEM, which begins with -----BEGIN CERTIFICATE-----", file)
		}
	}
	return pool, added, nil
}

// ReadClientCertificate returns the certificate to present to receivers that request
// one, and its description. The files hold PEM. The first may also hold the intermediate
// certificates. An error names the file and the reason, and contains nothing of the key.
func ReadClientCertificate(certFile, keyFile string) (*tls.Certificate, Certificate, error) {
	chain, err := readPEM(certFile)
	if err != nil {
		return nil, Certificate{}, err
	}
	info, err := os.Stat(keyFile)
	if err != nil {
		return nil, Certificate{}, err
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		return nil, Certificate{}, fmt.Errorf("%s: every user of this machine may open the key (mode %04o); run: chmod o= %s", keyFile, mode, keyFile)
	}
	key, err := readPEM(keyFile)
	if err != nil {
		return nil, Certificate{}, err
	}
	if bytes.Contains(key, []byte("ENCRYPTED")) {
		return nil, Certificate{}, fmt.Errorf("%s: the key is encrypted; store it without a passphrase, and readable by the server only", keyFile)
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		// The library's errors describe what was found and expected, never the bytes.
		return nil, Certificate{}, fmt.Errorf("%s and %s: %s", certFile, keyFile, strings.TrimPrefix(err.Error(), "tls: "))
	}
	return &pair, described(certFile, pair.Leaf), nil
}

func described(file string, cert *x509.Certificate) Certificate {
	return Certificate{File: file, Subject: cert.Subject.String(), NotBefore: cert.NotBefore, NotAfter: cert.NotAfter}
}

// readPEM reads a regular file. Other files, such as pipes, could block for ever.
func readPEM(file string) ([]byte, error) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: it is not a regular file", file)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPEMFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxPEMFile {
		return nil, fmt.Errorf("%s: it is larger than 1 MiB", file)
	}
	return text, nil
}
