package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/posthorn/posthorn/client"
)

// Publishing with an idempotency key can be retried until it succeeds. The event is stored
// once.
func ExampleClient_Publish() {
	c := &client.Client{URL: "https://hooks.example.com", Key: os.Getenv("POSTHORN_KEY")}
	event := client.NewEvent{Tenant: "acme", Type: "payment.settled", Data: json.RawMessage(`{"amount": 1250}`)}
	published, err := c.Publish(context.Background(), event, client.PublishOptions{IdempotencyKey: "payment-4711"})
	if problem, ok := errors.AsType[*client.Problem](err); ok && problem.RetryAfter > 0 {
		log.Printf("try again in %s: %s", problem.RetryAfter, problem.Detail)
		return
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(published.ID, published.DeliveryCount)
}
