package paysway

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/posthorn/posthorn/internal/api/adapter"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

// granted is the response to a token request (RFC 6749 section 5.1).
type granted struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"` // seconds
}

// token is POST /oauth2/token. The client credentials are the id and the text of a
// tenant key, in the form or as HTTP Basic (RFC 6749 sections 2.3.1 and 4.4).
func (a *api) token(w http.ResponseWriter, r *http.Request) error {
	if err := adapter.CheckLoop(r, a.o.Service.Loop()); err != nil {
		return err
	}
	body, err := adapter.Body(r, app.Caller{}, "application/x-www-form-urlencoded")
	if err != nil {
		if hook.CodeOf(err) == hook.CodeInvalidJSON {
			return badRequest("The request body could not be read to its end.")
		}
		return err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return badRequest("The request body is not a form.")
	}
	for _, name := range []string{"grant_type", "client_id", "client_secret"} {
		if len(form[name]) > 1 {
			return badRequest(name + " is given more than once.")
		}
	}
	if form.Get("grant_type") != "client_credentials" {
		return &failure{status: 400, Code: "AUTH_UNSUPPORTED_GRANT_TYPE", Message: "grant_type must be client_credentials."}
	}
	id, secret, err := credentials(r, form)
	if err != nil {
		return err
	}
	text, err := a.o.Service.IssueToken(adapter.Acting(w, r.WithContext(adapter.Metered(w, r)), app.Caller{}), id, secret, adapter.Address(r))
	if hook.CodeOf(err) == hook.CodeUnauthorized {
		return &failure{status: 401, Code: "AUTH_INVALID_CLIENT_CREDENTIALS", Message: "The client credentials are not valid.", scheme: "Basic"}
	}
	if e, ok := errors.AsType[*hook.Error](err); ok && e.Code == hook.CodeKeyExpired {
		return &failure{status: 401, Code: "AUTH_INVALID_CLIENT_CREDENTIALS", Message: e.Message, scheme: "Basic"}
	}
	if err != nil {
		return err
	}
	w.Header().Set("Pragma", "no-cache")
	return adapter.Answer(w, http.StatusOK, granted{text, "Bearer", int(app.TokenLifetime.Seconds())})
}

// credentials returns the client's id and secret from the one place that has them.
func credentials(r *http.Request, form url.Values) (id, secret string, err error) {
	id, secret = form.Get("client_id"), form.Get("client_secret")
	if len(r.Header["Authorization"]) > 0 {
		if secret != "" {
			return "", "", badRequest("The client credentials are given twice, in the header and in the form.")
		}
		name, password, _ := r.BasicAuth()
		if id != "" && id != name {
			return "", "", badRequest("client_id is not that of the Authorization header.")
		}
		id, secret = name, password
	}
	if id == "" || secret == "" {
		return "", "", &failure{status: 401, Code: "AUTH_MISSING_CLIENT_CREDENTIALS", Message: "client_id and client_secret are required.", scheme: "Basic"}
	}
	return id, secret, nil
}

// authenticate returns the caller. Only tokens are accepted: a key's own text is
// refused.
func (a *api) authenticate(r *http.Request) (app.Caller, error) {
	if err := adapter.CheckLoop(r, a.o.Service.Loop()); err != nil {
		return app.Caller{}, err
	}
	text, given := adapter.Bearer(r)
	if !given {
		return app.Caller{}, &failure{status: 401, Code: "AUTH_TOKEN_NOT_FOUND", Message: "A bearer token is required.", scheme: "Bearer"}
	}
	c, err := a.o.Service.AuthenticateToken(r.Context(), text, adapter.Address(r))
	if hook.CodeOf(err) == hook.CodeUnauthorized {
		return app.Caller{}, &failure{status: 401, Code: "AUTH_TOKEN_INVALID", Message: "The token is not valid or has expired.", scheme: "Bearer"}
	}
	return c, err
}
