package load

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
)

// longestConfig bounds a posted configuration, in bytes.
const longestConfig = 1 << 20

// Control starts and stops runs, one at a time. It keeps the records in a folder.
type Control struct {
	folder  string
	mutex   sync.Mutex
	current *Run // the latest, running or ended
}

// NewControl keeps records in folder.
func NewControl(folder string) *Control { return &Control{folder: folder} }

// RecordsPath is where the records of run are.
func RecordsPath(folder, run string) (string, error) {
	if !runName.MatchString(run) {
		return "", fmt.Errorf("run %q: not a name of a run", run)
	}
	return filepath.Join(folder, run+".jsonl"), nil
}

// Handler answers POST /start (a Config), POST /stop (answers the Summary) and GET /status.
func (c *Control) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /start", func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(io.LimitReader(r.Body, longestConfig))
		if err == nil {
			err = c.start(text)
		}
		reply(w, c.status(), err)
	})
	mux.HandleFunc("POST /stop", func(w http.ResponseWriter, _ *http.Request) {
		summary, err := c.Stop("asked to stop")
		reply(w, summary, err)
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { reply(w, c.status(), nil) })
	return mux
}

func reply(w http.ResponseWriter, value any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	w.Header().Set("content-type", "application/json")
	if err := json.NewEncoder(w).Encode(value); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func (c *Control) start(text []byte) error {
	config, err := ParseConfig(text)
	if err != nil {
		return err
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.current != nil && !c.current.ended() {
		return fmt.Errorf("run %q is still going on", c.current.config.Run)
	}
	path, err := RecordsPath(c.folder, config.Run)
	if err != nil {
		return err
	}
	recorder, err := NewRecorder(path)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("run %q has been had already", config.Run)
	}
	if err != nil {
		return err
	}
	c.current, err = Start(config, recorder)
	return err
}

// Stop ends the current run and returns its summary; one that has ended by itself too.
func (c *Control) Stop(reason string) (Summary, error) {
	c.mutex.Lock()
	run := c.current
	c.mutex.Unlock()
	if run == nil {
		return Summary{}, errors.New("no run has been started")
	}
	return run.Stop(reason), nil // outside the lock: it waits for what is in flight
}

// Status is what GET /status answers.
type Status struct {
	Run     string   `json:"run"`
	Running bool     `json:"running"`
	Sent    int64    `json:"sent"`
	Failed  int64    `json:"failed"`
	Summary *Summary `json:"summary,omitempty"`
}

func (c *Control) status() Status {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.current == nil {
		return Status{}
	}
	run := c.current
	status := Status{Run: run.config.Run, Running: !run.ended(), Sent: run.sent.Load(), Failed: run.failed.Load()}
	if !status.Running {
		status.Summary = &run.summary
	}
	return status
}

func (r *Run) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}
