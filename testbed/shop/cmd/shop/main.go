// Command shop is every workload of the testbed's sample shop.
//
//	shop serve -name cart -protocol http -listen :8080 -upstream payments=http://payments.shop-pay...:8080
//	shop prestop -for 4s    the preStop hook: start draining, leave the endpoints time to move
//	shop task -target http://cart.shop-core...:8080 -for 30s -every 1s    the work of a job
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"meshguard.dev/testbed/shop/internal/answer"
	"meshguard.dev/testbed/shop/internal/client"
	"meshguard.dev/testbed/shop/internal/server"
)

// taskTimeout is how long a job waits for one answer.
const taskTimeout = 5 * time.Second

func main() {
	log.SetFlags(log.LstdFlags | log.Lmicroseconds | log.LUTC)
	commands := map[string]func(context.Context, []string) error{"serve": serve, "prestop": prestop, "task": task}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: shop serve|prestop|task [flags]")
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	if err := commands[os.Args[1]](ctx, os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1)
	}
}

// upstreams collects repeated flags of the form callee=target.
type upstreams map[string]string

func (u upstreams) String() string { return "" }

func (u upstreams) Set(text string) error {
	callee, target, found := strings.Cut(text, "=")
	if !found {
		return errors.New("must be callee=target")
	}
	u[callee] = target
	return nil
}

func serve(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	config := server.Config{Pod: os.Getenv("POD_NAME"), Upstreams: upstreams{}}
	flags.StringVar(&config.Name, "name", "", "this workload's name in its legs")
	flags.StringVar(&config.Protocol, "protocol", "http", "http, grpc or tcp")
	flags.Var(upstreams(config.Upstreams), "upstream", "callee=target, repeated")
	listen := flags.String("listen", ":8080", "address to answer on")
	health := flags.String("health", ":8081", "address of the readiness probe")
	flags.Parse(args)

	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	if err := answerProbes(*health); err != nil {
		return err
	}
	drain := new(server.Drain)
	drainSignal := make(chan os.Signal, 1)
	signal.Notify(drainSignal, syscall.SIGUSR1)
	go func() {
		<-drainSignal
		log.Print("draining")
		drain.Begin()
	}()
	log.Printf("%s answers %s on %s", config.Name, config.Protocol, listener.Addr())
	err = server.Serve(ctx, config, listener, drain)
	log.Print("stopped")
	return err
}

// answerProbes listens before it returns, so that readiness means that the server answers too.
func answerProbes(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	go func() { log.Fatal(http.Serve(listener, mux)) }()
	return nil
}

// prestop runs in the server's container, whose first process is the server.
func prestop(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("prestop", flag.ExitOnError)
	wait := flags.Duration("for", 4*time.Second, "how long the endpoints have to move")
	flags.Parse(args)
	if err := syscall.Kill(1, syscall.SIGUSR1); err != nil {
		return err
	}
	// The one wait that has no condition to poll: a pod cannot see who still has it in a list.
	select {
	case <-time.After(*wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// task calls its target again and again, says what went wrong, and ends. Its failures do not fail it:
// it is there to be found running by whoever moves the namespace, not to measure.
func task(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("task", flag.ExitOnError)
	name := flags.String("name", "task", "this workload's name")
	target := flags.String("target", "", "whom to call")
	length := flags.Duration("for", 10*time.Second, "when to end")
	every := flags.Duration("every", time.Second, "how often to call")
	flags.Parse(args)
	callee, err := client.New(*name+"->target", *target)
	if err != nil {
		return err
	}
	defer callee.Close()
	ctx, cancel := context.WithTimeout(ctx, *length)
	defer cancel()
	clock := time.NewTicker(*every)
	defer clock.Stop()
	sent, failed := 0, 0
	for {
		select {
		case <-ctx.Done():
			log.Printf("done: %d sent, %d failed", sent, failed)
			return nil
		case <-clock.C:
		}
		sent++
		if leg := answer.FirstFailed(ask(callee)); leg != nil {
			failed++
			text, err := answer.Line(leg)
			if err != nil {
				return err
			}
			log.Printf("failed: %s", text)
		}
	}
}

func ask(callee client.Client) []answer.Leg {
	ctx, cancel := context.WithTimeout(context.Background(), taskTimeout)
	defer cancel()
	return callee.Call(ctx, client.Request{ID: rand.Text()})
}
