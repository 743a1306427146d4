//go:build !race

package webhook_test

import (
	"testing"

	"github.com/posthorn/posthorn/webhook"
)

// The sender signs on its hot path. With HMAC, signing allocates nothing after warm-up.
func TestAppendSignatureDoesNotAllocate(t *testing.T) {
	for name, spec := range schemes {
		if spec.Algorithm == webhook.Ed25519 {
			continue // crypto/ed25519 returns the signature in new memory
		}
		signer, err := spec.Signer(keys(t, spec, secretNew[name], secretOld[name]))
		if err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 0, 256)
		if n := testing.AllocsPerRun(100, func() { _, _ = signer.AppendSignature(buffer, message) }); n >= 1 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
