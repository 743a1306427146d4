package webhook_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/posthorn/posthorn/webhook"
)

// A receiver of Standard Webhooks wraps its handler.
func ExampleStandard() {
	verifier, err := webhook.NewVerifier(webhook.Standard(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		panic(err)
	}
	verifier.Now = func() time.Time { return time.Unix(1614265330, 0) } // omit this line
	hook := verifier.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("event", r.Header.Get("webhook-id"))
		w.WriteHeader(http.StatusNoContent)
	}))

	r := httptest.NewRequest("POST", "/hook", strings.NewReader(`{"test": 2432232314}`))
	r.Header.Set("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek")
	r.Header.Set("webhook-timestamp", "1614265330")
	r.Header.Set("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
	w := httptest.NewRecorder()
	hook.ServeHTTP(w, r)
	fmt.Println(w.Code)
	// Output:
	// event msg_p5jXN8AQM9LWM0D4loKWxJek
	// 204
}

// PaySway accepts only status 200 as success.
func ExamplePaySway() {
	verifier, err := webhook.NewVerifier(webhook.PaySway(), "zTOJGr3vYdAHM/F5ZiDsVvgPZq5/Y3Ktbo9xw9Ncf8Y=")
	if err != nil {
		panic(err)
	}
	verifier.Now = func() time.Time { return time.Unix(1738002855, 0) } // omit this line
	header := http.Header{}
	header.Set("X-PaySway-Signature", "t=1738002855,v1=c9854765d242b9078e68b6fca1755f208ba70a7aa7c372abc4ec341483e34496")
	fmt.Println(verifier.Verify(header, []byte(`{"foo":"bar"}`)))
	fmt.Println(verifier.Verify(header, []byte(`{"foo": "bar"}`)))
	// Output:
	// <nil>
	// webhook: no signature matches
}

// A paywise signature contains no time, so a receiver has to remember which deliveries it
// has already seen.
func ExamplePaywise() {
	verifier, err := webhook.NewVerifier(webhook.Paywise(), "aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789_abc")
	if err != nil {
		panic(err)
	}
	header := http.Header{}
	header.Set("X-Paywise-Delivery-ID", "0197a0c2-7c1e-7a4b-9a51-2f6d0c1b7e11")
	header.Set("X-Paywise-Signature", "sha256=bff0350244fdc441b6f4ce482c3a77ffc919a36b9445791a4bb081d5642618ac")
	seen := map[string]bool{}
	for range 2 {
		if err := verifier.Verify(header, []byte(`{"foo":"bar"}`)); err != nil {
			fmt.Println(err)
			return
		}
		id := header.Get("X-Paywise-Delivery-ID")
		fmt.Println("seen before:", seen[id])
		seen[id] = true
	}
	// Output:
	// seen before: false
	// seen before: true
}

// A sender builds one Signer per endpoint and set of secrets.
func ExampleSigner() {
	spec := webhook.PaySway()
	key, err := spec.ParseKey("zTOJGr3vYdAHM/F5ZiDsVvgPZq5/Y3Ktbo9xw9Ncf8Y=")
	if err != nil {
		panic(err)
	}
	signer, err := spec.Signer([]webhook.Key{key})
	if err != nil {
		panic(err)
	}
	value, err := signer.AppendSignature(nil, webhook.Message{
		Timestamp: time.Unix(1738002855, 0), Body: []byte(`{"foo":"bar"}`),
	})
	fmt.Println(string(value), err)
	// Output:
	// t=1738002855,v1=c9854765d242b9078e68b6fca1755f208ba70a7aa7c372abc4ec341483e34496 <nil>
}

// A receiver of asymmetric signatures holds only the public key. It also accepts a request
// that carries both kinds of signature.
func ExampleStandardAsymmetric() {
	verifier, err := webhook.NewVerifier(webhook.StandardAsymmetric(), "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=")
	if err != nil {
		panic(err)
	}
	verifier.Now = func() time.Time { return time.Unix(1614265330, 0) } // omit this line
	header := http.Header{}
	header.Set("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek")
	header.Set("webhook-timestamp", "1614265330")
	header.Set("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="+
		" v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==")
	fmt.Println(verifier.Verify(header, []byte(`{"test": 2432232314}`)))
	// Output: <nil>
}
