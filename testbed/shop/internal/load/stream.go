package load

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"meshguard.dev/testbed/shop/internal/answer"
	"meshguard.dev/testbed/shop/internal/catalogue"
	"meshguard.dev/testbed/shop/internal/client"
)

// reopenPause keeps a stream that cannot be opened from spinning.
const reopenPause = 200 * time.Millisecond

// watcher holds one gRPC stream open and records every closing with its time and reason.
type watcher struct {
	edge     string
	conn     *grpc.ClientConn
	recorder *Recorder
}

func newWatcher(stream Stream, recorder *Recorder) (*watcher, error) {
	conn, err := client.DialGRPC(strings.TrimPrefix(stream.Target, streamScheme))
	return &watcher{edge: caller + "->" + stream.Callee, conn: conn, recorder: recorder}, err
}

// hold keeps the stream until ctx is done.
func (w *watcher) hold(ctx context.Context) {
	defer w.conn.Close()
	for ctx.Err() == nil {
		w.once(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(reopenPause):
		}
	}
}

// once opens the stream and follows it to its end.
func (w *watcher) once(ctx context.Context) {
	id := newID()
	opened := time.Now()
	closed := streamEvent{Kind: "stream", Edge: w.edge, Event: "closed"}
	err := w.follow(ctx, id, &closed)
	now := time.Now()
	closed.At, closed.Millis = now.UnixNano(), now.Sub(opened).Milliseconds()
	closed.Code, closed.Reason = status.Code(err).String(), err.Error()
	if ctx.Err() != nil {
		closed.Code, closed.Reason = "OK", "the run ended"
	}
	w.recorder.Write(closed)
}

// follow returns why the stream ended: never nil, io.EOF if the server just ended it.
func (w *watcher) follow(ctx context.Context, id string, closed *streamEvent) error {
	stream, err := catalogue.Watch(ctx, w.conn, id)
	if err != nil {
		return err
	}
	last := time.Now()
	for {
		message, err := stream.Recv()
		now := time.Now()
		closed.Gap, last = max(closed.Gap, now.Sub(last).Milliseconds()), now
		if err != nil {
			return err
		}
		var reply answer.Answer
		if err := json.Unmarshal([]byte(message.GetValue()), &reply); err != nil {
			return err
		}
		if !answer.Verify(reply.Pod, id, reply.Proof) {
			return client.ErrNonce
		}
		if closed.Ticks++; closed.Ticks == 1 {
			closed.Pod = reply.Pod
			w.recorder.Write(streamEvent{Kind: "stream", At: now.UnixNano(), Edge: w.edge, Event: "opened", Pod: reply.Pod})
		}
	}
}
