// Command quickstart makes the first steps with Svix's library for Go: an application, an
// endpoint, a message, its attempts, and a receiver that verifies. The test changes two
// lines, the token and the server, and nothing else.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"time"

	svix "github.com/svix/svix-webhooks/go"
	"github.com/svix/svix-webhooks/go/models"
)

const token = "testsk_AUTH_TOKEN.eu"

var server = &url.URL{Scheme: "https", Host: "api.eu.svix.com"}

func main() {
	ctx := context.Background()
	client, err := svix.New(token, &svix.SvixOptions{ServerUrl: server})
	check(err)

	app, err := client.Application.Create(ctx, models.ApplicationIn{Name: "Quick start in Go"}, nil)
	check(err)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	description := "my first endpoint"
	endpoint, err := client.Endpoint.Create(ctx, app.Id, models.EndpointIn{Url: "http://" + listener.Addr().String() + "/webhook/", Description: &description}, nil)
	check(err)
	secret, err := client.Endpoint.GetSecret(ctx, app.Id, endpoint.Id)
	check(err)
	webhook, err := svix.NewWebhook(secret.Key)
	check(err)

	verified := make(chan error, 1)
	go func() {
		_ = http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			payload, err := io.ReadAll(r.Body)
			if err == nil {
				err = webhook.Verify(payload, r.Header)
			}
			if err != nil {
				w.WriteHeader(http.StatusBadRequest)
			}
			verified <- err
		}))
	}()

	message, err := client.Message.Create(ctx, app.Id, models.MessageIn{EventType: "invoice.paid", Payload: map[string]any{"id": "invoice_WF7WtCLFFtd8ubcTgboSFNql", "status": "paid", "attempt": 2}}, nil)
	check(err)
	select {
	case err := <-verified:
		check(err)
	case <-time.After(30 * time.Second):
		log.Fatal("nothing arrived")
	}
	fmt.Println("verified", message.EventType)

	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		attempts, err := client.MessageAttempt.ListByMsg(ctx, app.Id, message.Id, nil)
		check(err)
		if len(attempts.Data) == 1 && attempts.Data[0].ResponseStatusCode == http.StatusOK {
			fmt.Println("attempts 1")
			return
		}
		if time.Now().After(end) {
			log.Fatalf("attempts: %+v", attempts.Data)
		}
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
