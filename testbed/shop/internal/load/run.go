package load

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"meshguard.dev/testbed/shop/internal/answer"
	"meshguard.dev/testbed/shop/internal/client"
)

// caller is the generator's name in its own legs.
const caller = "load"

// Run is one run of the generator.
type Run struct {
	config   Config
	recorder *Recorder
	started  time.Time
	lanes    []*lane
	sent     atomic.Int64
	failed   atomic.Int64
	inFlight sync.WaitGroup // requests
	working  sync.WaitGroup // lanes and streams

	stopOnce sync.Once
	stopping chan struct{} // closed once stoppedAt and reason are set
	stopAt   time.Time
	reason   string
	streams  context.CancelFunc
	summary  Summary
	done     chan struct{} // closed once summary is complete
}

// lane is the schedule of one edge: its n-th request is due at start + n / rate.
type lane struct {
	edge     Edge
	callee   client.Client
	start    time.Time
	inFlight atomic.Int64
}

// Start begins config, which must have been checked. The run ends at its longest duration, if nobody
// stops it before.
func Start(config Config, recorder *Recorder) (*Run, error) {
	run := &Run{config: config, recorder: recorder, stopping: make(chan struct{}), done: make(chan struct{})}
	var watchers []*watcher
	for _, stream := range config.Streams {
		watcher, err := newWatcher(stream, recorder)
		if err != nil {
			return nil, err
		}
		watchers = append(watchers, watcher)
	}
	for _, edge := range config.Edges {
		callee, err := client.New(edge.first(), edge.Target)
		if err != nil {
			return nil, err
		}
		run.lanes = append(run.lanes, &lane{edge: edge, callee: callee})
	}
	run.begin(watchers)
	return run, nil
}

func (r *Run) begin(watchers []*watcher) {
	var ctx context.Context
	ctx, r.streams = context.WithCancel(context.Background())
	for _, watcher := range watchers {
		r.working.Go(func() { watcher.hold(ctx) })
	}
	r.started = time.Now()
	for i, lane := range r.lanes {
		// Spread over one interval, so that the edges do not beat in step.
		lane.start = r.started.Add(time.Duration(float64(i) / float64(len(r.lanes)) / lane.edge.Rate * 1e9))
		r.working.Go(func() { r.drive(lane) })
	}
	longest := time.AfterFunc(time.Duration(r.config.MaxSeconds)*time.Second, func() { r.stop("max_seconds reached") })
	go func() {
		<-r.stopping
		longest.Stop()
		r.finish()
	}()
}

// due is when the n-th request of the lane is to be sent.
func (l *lane) due(n int) time.Time {
	return l.start.Add(time.Duration(float64(n) / l.edge.Rate * 1e9))
}

// dueBefore counts the requests that are due before end, from the schedule alone.
func (l *lane) dueBefore(end time.Time) int {
	bound := int(end.Sub(l.start).Seconds()*l.edge.Rate) + 2
	return sort.Search(max(bound, 0), func(n int) bool { return !l.due(n).Before(end) })
}

// drive sends each request of the lane when it is due, whatever became of the ones before. After the
// stop it still sends what had been due by then.
func (r *Run) drive(lane *lane) {
	for n := 0; ; n++ {
		due := lane.due(n)
		timer := time.NewTimer(time.Until(due))
		select {
		case <-timer.C:
		case <-r.stopping:
			timer.Stop()
		}
		select {
		case <-r.stopping:
			if !due.Before(r.stopAt) {
				return
			}
		default:
		}
		r.send(lane, n, due)
	}
}

func (r *Run) send(lane *lane, n int, due time.Time) {
	line := request{
		Kind: "request", Seq: r.sent.Add(1), ID: newID(), At: due.UnixNano(),
		Edge: lane.edge.Name(), Protocol: lane.edge.Protocol, Fresh: lane.fresh(n),
		Lag: time.Since(due).Microseconds(),
	}
	if lane.inFlight.Add(1) > int64(r.config.MaxInFlight) {
		lane.inFlight.Add(-1)
		line.Outcome, line.Failed = "overload", lane.edge.first()
		r.record(line)
		return
	}
	r.inFlight.Go(func() {
		defer lane.inFlight.Add(-1)
		// From when it was due: a generator that runs late grants no extra time.
		ctx, cancel := context.WithDeadline(context.Background(), due.Add(r.config.timeout()))
		defer cancel()
		line.Legs = lane.callee.Call(ctx, client.Request{ID: line.ID, Fresh: line.Fresh})
		line.Micros = time.Since(due).Microseconds()
		line.judge()
		r.record(line)
	})
}

// fresh spreads the share of fresh connections evenly over the lane's requests.
func (l *lane) fresh(n int) bool {
	return math.Floor(float64(n+1)*l.edge.Fresh) > math.Floor(float64(n)*l.edge.Fresh)
}

// judge verifies every leg's proof itself, and names the leg that failed.
func (line *request) judge() {
	for i := range line.Legs {
		leg := &line.Legs[i]
		if leg.Outcome == answer.OK && !answer.Verify(leg.Pod, line.ID, leg.Proof) {
			leg.Outcome, leg.Nonce = "nonce", false
		}
		leg.Proof = ""
	}
	line.Outcome = answer.OK
	if leg := answer.FirstFailed(line.Legs); leg != nil {
		line.Outcome, line.Failed = leg.Outcome, leg.Edge
	} else if last := line.Legs[len(line.Legs)-1]; last.Edge != line.Edge {
		line.Outcome, line.Failed = "answer", line.Edge // answered without having gone all the way
	}
}

func (r *Run) record(line request) {
	if line.Outcome != answer.OK {
		r.failed.Add(1)
	}
	r.recorder.Write(line)
}

func (r *Run) stop(reason string) {
	r.stopOnce.Do(func() {
		r.stopAt, r.reason = time.Now(), reason
		close(r.stopping)
	})
}

func (r *Run) finish() {
	r.streams()
	r.working.Wait()
	r.inFlight.Wait()
	due := 0
	for _, lane := range r.lanes {
		due += lane.dueBefore(r.stopAt)
		lane.callee.Close()
	}
	r.summary = r.recorder.Finish(Summary{
		Kind: "summary", Run: r.config.Run, Started: r.started.UnixNano(), Stopped: r.stopAt.UnixNano(),
		Reason: r.reason, Due: due, Sent: int(r.sent.Load()), Failed: int(r.failed.Load()),
	})
	close(r.done)
}

// Stop ends the run, waits for what is in flight, and returns the summary.
func (r *Run) Stop(reason string) Summary {
	r.stop(reason)
	<-r.done
	return r.summary
}

// Done is closed when the run has ended and its summary is complete.
func (r *Run) Done() <-chan struct{} { return r.done }

// newID returns a random UUID: Envoy keeps that as it is in the header it logs.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}
