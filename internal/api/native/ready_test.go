package native_test

import "testing"

// A server that accepts requests although something is wrong is ready and reports the
// problem.
func TestReadySaysWhatIsWrong(t *testing.T) {
	h := newTestAPI(t)
	for text, want := range map[string]string{
		"":                         `{"status":"ready"}`,
		"Hosts cannot be reached.": `{"status":"ready","detail":"Hosts cannot be reached."}`,
	} {
		h.notice = text
		if w := h.do(call{"GET", "/readyz", "", nil, nil}); w.Code != 200 || w.Body.String() != want {
			t.Errorf("%d %s, want %s", w.Code, w.Body, want)
		}
	}
}
