package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

// PublishOptions are optional parameters of [Client.Publish] and [Client.PublishBatch].
type PublishOptions struct {
	// IdempotencyKey is 1 to 255 printable ASCII characters. If it is empty, the client
	// generates a key for each call, so that its own retries publish once; with
	// Client.Attempts set to 1 it sends none. Supply your own key to make retries after a
	// restart of your program publish once, too.
	IdempotencyKey string
}

// Publish publishes one event. When it returns without an error, the event and its
// deliveries are on the server's disk. Data is sent byte for byte.
func (c *Client) Publish(ctx context.Context, e NewEvent, o PublishOptions) (Published, error) {
	var out Published
	body, err := appendEvent(nil, e)
	if err != nil {
		return out, err
	}
	err = c.Do(ctx, http.MethodPost, "/v1/events", cmp.Or(o.IdempotencyKey, c.newKey()), json.RawMessage(body), &out)
	return out, err
}

// PublishBatch publishes up to 1,000 events in one commit. The results are in the order of
// events. One event may be refused while the others are accepted, so check the Error of
// each result.
func (c *Client) PublishBatch(ctx context.Context, events []NewEvent, o PublishOptions) ([]BatchResult, error) {
	body := []byte{'['}
	for i, e := range events {
		if i > 0 {
			body = append(body, ',')
		}
		var err error
		if body, err = appendEvent(body, e); err != nil {
			return nil, fmt.Errorf("item %d: %w", i, err)
		}
	}
	body = append(body, ']')
	var out BatchResults
	err := c.Do(ctx, http.MethodPost, "/v1/events/batch", cmp.Or(o.IdempotencyKey, c.newKey()), json.RawMessage(body), &out)
	return out.Results, err
}

// appendEvent encodes an event with its data unchanged. json.Marshal would compact and
// escape the data, and receivers verify the exact bytes.
func appendEvent(dst []byte, e NewEvent) ([]byte, error) {
	data := bytes.TrimSpace(e.Data)
	head, err := json.Marshal(struct {
		Tenant    string `json:"tenant,omitempty"`
		Type      string `json:"type"`
		Version   int    `json:"type_version,omitempty"`
		ID        string `json:"id,omitempty"`
		CreatedAt *Time  `json:"created_at,omitempty"`
		DeliverAt *Time  `json:"deliver_at,omitempty"`
		Require   bool   `json:"require_match,omitempty"`
		Keep      string `json:"payload_retention,omitempty"`

		Channels []string          `json:"channels,omitempty"`
		Tags     map[string]string `json:"tags,omitempty"`
	}{e.Tenant, e.Type, e.TypeVersion, e.ID, e.CreatedAt, e.DeliverAt, e.RequireMatch, e.PayloadRetention, e.Channels, e.Tags})
	if err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	if !json.Valid(data) {
		return nil, fmt.Errorf("encode event: data is not JSON")
	}
	dst = append(dst, head[:len(head)-1]...)
	dst = append(dst, `,"data":`...)
	return append(append(dst, data...), '}'), nil
}

// Events returns one page of events, newest first, without their data.
func (c *Client) Events(ctx context.Context, q EventQuery) (Page[Event], error) {
	return get[Page[Event]](ctx, c, "/v1/events"+queryOf(q))
}

// Event returns one event with its data and its deliveries.
func (c *Client) Event(ctx context.Context, id string) (Event, error) {
	return get[Event](ctx, c, "/v1/events/"+url.PathEscape(id))
}

// Deliveries returns one page of deliveries, newest first, without their attempts.
func (c *Client) Deliveries(ctx context.Context, q DeliveryQuery) (Page[Delivery], error) {
	return get[Page[Delivery]](ctx, c, "/v1/deliveries"+queryOf(q))
}

// CountDeliveries counts the deliveries that have not ended well, of a tenant or to an
// endpoint. Both may be empty: those of all that the key sees.
func (c *Client) CountDeliveries(ctx context.Context, tenant, endpoint string) (DeliveryCounts, error) {
	return get[DeliveryCounts](ctx, c, "/v1/deliveries/counts"+queryOf(struct {
		Tenant   string `query:"tenant"`
		Endpoint string `query:"endpoint"`
	}{tenant, endpoint}))
}

// Delivery returns one delivery with its attempts.
func (c *Client) Delivery(ctx context.Context, id string) (Delivery, error) {
	return get[Delivery](ctx, c, "/v1/deliveries/"+url.PathEscape(id))
}

// RetryDelivery requests one more attempt now.
func (c *Client) RetryDelivery(ctx context.Context, id string) (Delivery, error) {
	return post[Delivery](ctx, c, "/v1/deliveries/"+url.PathEscape(id)+"/retry", nil)
}

// RetryAnyway is like RetryDelivery, but works while the endpoint is disabled. The attempt
// then does not affect the endpoint's health.
func (c *Client) RetryAnyway(ctx context.Context, id string) (Delivery, error) {
	return post[Delivery](ctx, c, "/v1/deliveries/"+url.PathEscape(id)+"/retry", RetryRequest{EvenIfDisabled: true})
}

// CancelDelivery cancels a delivery that is still open.
func (c *Client) CancelDelivery(ctx context.Context, id string) (Delivery, error) {
	return act[Delivery](ctx, c, "/v1/deliveries/"+url.PathEscape(id)+"/cancel")
}

// CreateTenant creates a tenant.
func (c *Client) CreateTenant(ctx context.Context, t NewTenant) (Tenant, error) {
	return post[Tenant](ctx, c, "/v1/tenants", t)
}

// Tenants returns one page of tenants, newest first.
func (c *Client) Tenants(ctx context.Context, q TenantQuery) (Page[Tenant], error) {
	return get[Page[Tenant]](ctx, c, "/v1/tenants"+queryOf(q))
}

// Tenant returns one tenant.
func (c *Client) Tenant(ctx context.Context, id string) (Tenant, error) {
	return get[Tenant](ctx, c, "/v1/tenants/"+url.PathEscape(id))
}

// UpdateTenant changes a tenant. Members that p does not set stay as they are.
func (c *Client) UpdateTenant(ctx context.Context, id string, p TenantPatch) (Tenant, error) {
	return patch[Tenant](ctx, c, "/v1/tenants/"+url.PathEscape(id), p)
}

// DeleteTenant deletes a tenant with its endpoints and keys.
func (c *Client) DeleteTenant(ctx context.Context, id string) error {
	return c.Do(ctx, http.MethodDelete, "/v1/tenants/"+url.PathEscape(id), "", nil, nil)
}

// CreateKey creates a key. Only this response contains its text.
func (c *Client) CreateKey(ctx context.Context, k NewKey) (Key, error) {
	return post[Key](ctx, c, "/v1/keys", k)
}

// Keys returns one page of the keys of the caller's mode, newest first.
func (c *Client) Keys(ctx context.Context, q KeyQuery) (Page[Key], error) {
	return get[Page[Key]](ctx, c, "/v1/keys"+queryOf(q))
}

// RevokeKey revokes a key.
func (c *Client) RevokeKey(ctx context.Context, id string) error {
	return c.Do(ctx, http.MethodDelete, "/v1/keys/"+url.PathEscape(id), "", nil, nil)
}

// CreateEndpoint creates an endpoint. The response contains its secret, which is shown once
// unless the server permits [Client.RevealSecret].
func (c *Client) CreateEndpoint(ctx context.Context, e NewEndpoint) (Endpoint, error) {
	return post[Endpoint](ctx, c, "/v1/endpoints", e)
}

// Endpoints returns one page of endpoints, newest first, without their health.
func (c *Client) Endpoints(ctx context.Context, q EndpointQuery) (Page[Endpoint], error) {
	return get[Page[Endpoint]](ctx, c, "/v1/endpoints"+queryOf(q))
}

// Endpoint returns one endpoint with its health.
func (c *Client) Endpoint(ctx context.Context, id string) (Endpoint, error) {
	return get[Endpoint](ctx, c, "/v1/endpoints/"+url.PathEscape(id))
}

// UpdateEndpoint changes an endpoint. Members that p does not set stay as they are. The
// response contains a secret only if a change of profile generated a new one.
func (c *Client) UpdateEndpoint(ctx context.Context, id string, p EndpointPatch) (Endpoint, error) {
	return patch[Endpoint](ctx, c, "/v1/endpoints/"+url.PathEscape(id), p)
}

// DeleteEndpoint deletes an endpoint and cancels its open deliveries.
func (c *Client) DeleteEndpoint(ctx context.Context, id string) error {
	return c.Do(ctx, http.MethodDelete, "/v1/endpoints/"+url.PathEscape(id), "", nil, nil)
}

// ExpireSecrets expires all secrets of an endpoint except the newest.
func (c *Client) ExpireSecrets(ctx context.Context, id string) error {
	return c.Do(ctx, "POST", "/v1/endpoints/"+url.PathEscape(id)+"/secret/expire", "", nil, nil)
}

// RotateSecret gives an endpoint a new secret. The response contains the new secret.
func (c *Client) RotateSecret(ctx context.Context, id string, r RotateSecret) (RotatedSecret, error) {
	return post[RotatedSecret](ctx, c, "/v1/endpoints/"+url.PathEscape(id)+"/secret/rotate", r)
}

// TestEndpoint sends a test event in a single attempt, which is signed and logged like any
// other.
func (c *Client) TestEndpoint(ctx context.Context, id string, r TestRequest) (TestEvent, error) {
	return post[TestEvent](ctx, c, "/v1/endpoints/"+url.PathEscape(id)+"/test", r)
}

// VerifyEndpoint sends another challenge to an unverified endpoint, or with Trust marks it
// as verified. An endpoint that needs neither is returned unchanged.
func (c *Client) VerifyEndpoint(ctx context.Context, id string, r VerifyRequest) (Endpoint, error) {
	return post[Endpoint](ctx, c, "/v1/endpoints/"+url.PathEscape(id)+"/verify", r)
}

// Version returns the server's version. It needs no key.
func (c *Client) Version(ctx context.Context) (Version, error) {
	return get[Version](ctx, c, "/version")
}

func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	var out T
	err := c.Do(ctx, http.MethodGet, path, "", nil, &out)
	return out, err
}

// post makes a request that creates an object, with an idempotency key from newKey.
func post[T any](ctx context.Context, c *Client, path string, in any) (T, error) {
	var out T
	err := c.Do(ctx, http.MethodPost, path, c.newKey(), in, &out)
	return out, err
}

// act makes a POST request without an idempotency key.
func act[T any](ctx context.Context, c *Client, path string) (T, error) {
	var out T
	err := c.Do(ctx, http.MethodPost, path, "", nil, &out)
	return out, err
}

func patch[T any](ctx context.Context, c *Client, path string, in any) (T, error) {
	var out T
	err := c.Do(ctx, http.MethodPatch, path, "", in, &out)
	return out, err
}
