// Command openload is the testbed's load generator.
//
//	openload serve [-folder /data]       wait for commands; SIGTERM ends the current run, in order
//	openload start < config.json         begin a run
//	openload stop                        end it, print its summary; exit 1 unless sent == recorded
//	openload status                      print what goes on
//	openload records -run R [-offset N] [-gzip]  print the records from byte N on, whole lines only
//	openload forget -run R               delete the records
//	openload run -out FILE < config.json one run to its end, without a server
//
// Commands reach the server through a socket in the folder: nothing of it passes the pod's network, so
// that the load can be watched and stopped whatever the mesh does.
package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"meshguard.dev/testbed/shop/internal/load"
)

const usage = "usage: openload serve|start|stop|status|records|forget|run [flags]"

type options struct {
	folder string
	health string
	run    string
	offset int64
	gzip   bool
	out    string
}

func main() {
	commands := map[string]func(options) error{
		"serve": serve, "start": start, "stop": stop, "status": status,
		"records": records, "forget": forget, "run": run,
	}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	var o options
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	flags.StringVar(&o.folder, "folder", "/data", "where the socket and the records are")
	flags.StringVar(&o.health, "health", ":8081", "serve: address of the readiness probe")
	flags.StringVar(&o.run, "run", "", "records, forget: which run")
	flags.Int64Var(&o.offset, "offset", 0, "records: from which byte on")
	flags.BoolVar(&o.gzip, "gzip", false, "records: compress")
	flags.StringVar(&o.out, "out", "", "run: file for the records")
	flags.Parse(os.Args[2:])
	if err := commands[os.Args[1]](o); err != nil {
		fmt.Fprintln(os.Stderr, "openload:", err)
		os.Exit(1)
	}
}

func (o options) socket() string { return filepath.Join(o.folder, "control.sock") }

func serve(o options) error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	// A container that starts again in the same pod finds the socket of the one before.
	if err := os.Remove(o.socket()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	commands, err := net.Listen("unix", o.socket())
	if err != nil {
		return err
	}
	probes, err := net.Listen("tcp", o.health)
	if err != nil {
		return err
	}
	control := load.NewControl(o.folder)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	failed := make(chan error, 2)
	go func() { failed <- http.Serve(commands, control.Handler()) }()
	go func() { failed <- http.Serve(probes, mux) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	if summary, err := control.Stop("SIGTERM"); err == nil { // an error: there is no run to end
		return report(summary)
	}
	return nil
}

// report prints the summary and returns an error unless it is complete.
func report(summary load.Summary) error {
	if err := json.NewEncoder(os.Stdout).Encode(summary); err != nil {
		return err
	}
	return summary.Complete()
}

func start(o options) error {
	config, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	return o.show(http.MethodPost, "/start", config)
}

func status(o options) error { return o.show(http.MethodGet, "/status", nil) }

func stop(o options) error {
	text, err := o.command(http.MethodPost, "/stop", nil)
	if err != nil {
		return err
	}
	var summary load.Summary
	if err := json.Unmarshal(text, &summary); err != nil {
		return err
	}
	return report(summary)
}

func (o options) show(method, path string, body []byte) error {
	text, err := o.command(method, path, body)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(text)
	return err
}

// command sends one command to the server.
func (o options) command(method, path string, body []byte) ([]byte, error) {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", o.socket())
	}}
	request, err := http.NewRequest(method, "http://openload"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(string(bytes.TrimSpace(text)))
	}
	return text, err
}

func records(o options) error {
	path, err := load.RecordsPath(o.folder, o.run)
	if err != nil {
		return err
	}
	text, err := load.WholeLines(path, o.offset)
	if err != nil {
		return err
	}
	defer text.Close()
	if !o.gzip {
		_, err = io.Copy(os.Stdout, text)
		return err
	}
	packer := gzip.NewWriter(os.Stdout)
	if _, err := io.Copy(packer, text); err != nil {
		return err
	}
	return packer.Close()
}

func forget(o options) error {
	path, err := load.RecordsPath(o.folder, o.run)
	if err != nil {
		return err
	}
	return os.Remove(path)
}

func run(o options) error {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	config, err := load.ParseConfig(text)
	if err != nil {
		return err
	}
	recorder, err := load.NewRecorder(o.out)
	if err != nil {
		return err
	}
	running, err := load.Start(config, recorder)
	if err != nil {
		return err
	}
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-stopped:
	case <-running.Done():
	}
	return report(running.Stop("signal"))
}
