package load

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"meshguard.dev/testbed/shop/internal/answer"
)

// longestLine bounds one record, in bytes.
const longestLine = 1 << 20

// Recorder appends one line of JSON per record. Each is handed to the kernel at once: nothing is lost
// when the process is killed.
type Recorder struct {
	mutex    sync.Mutex
	file     *os.File
	requests int
	err      error
}

// NewRecorder creates the file at path, which must not exist.
func NewRecorder(path string) (*Recorder, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o644)
	return &Recorder{file: file}, err
}

// request is the line of one request.
type request struct {
	Kind     string `json:"kind"` // "request"
	Seq      int64  `json:"seq"`  // 1, 2, 3 ... in no particular order
	ID       string `json:"id"`
	At       int64  `json:"at"` // when it was due, unix nanoseconds
	Edge     string `json:"edge"`
	Protocol string `json:"protocol"`
	Fresh    bool   `json:"fresh"`
	Outcome  string `json:"outcome"`
	Failed   string `json:"failed_edge,omitempty"` // of those on the way
	Lag      int64  `json:"lag_us"`                // how late it was sent, the generator's own fault
	Micros   int64  `json:"us"`                    // from when it was due to the whole answer
	// Legs are the hops on the way, the generator's own first. Their proofs have been checked.
	Legs []answer.Leg `json:"legs"`
}

// streamEvent is the line of a stream that opened or closed.
type streamEvent struct {
	Kind   string `json:"kind"` // "stream"
	At     int64  `json:"at"`
	Edge   string `json:"edge"`
	Event  string `json:"event"` // opened or closed
	Pod    string `json:"pod,omitempty"`
	Millis int64  `json:"ms,omitempty"`     // closed: how long it was open
	Ticks  int    `json:"ticks,omitempty"`  // closed: messages received
	Gap    int64  `json:"gap_ms,omitempty"` // closed: the longest silence
	Code   string `json:"code,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// Summary is the last line.
type Summary struct {
	Kind     string `json:"kind"` // "summary"
	Run      string `json:"run"`
	Started  int64  `json:"started"`
	Stopped  int64  `json:"stopped"`
	Reason   string `json:"reason"`
	Due      int    `json:"due"`      // by the schedule alone
	Sent     int    `json:"sent"`     // handed to a client, or refused as "overload"
	Recorded int    `json:"recorded"` // lines written
	Failed   int    `json:"failed"`
	Error    string `json:"error,omitempty"`
}

// Complete returns an error unless everything that was due was sent and recorded.
func (s Summary) Complete() error {
	if s.Due != s.Sent || s.Sent != s.Recorded || s.Error != "" {
		return errors.New("incomplete: due, sent and recorded differ, or a line could not be written")
	}
	return nil
}

// Write appends record; the first error is kept and shows in the summary.
func (r *Recorder) Write(record any) {
	line, err := answer.Line(record)
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if err == nil {
		_, err = r.file.Write(line)
	}
	if err != nil {
		if r.err == nil {
			r.err = err
		}
		return
	}
	if _, isRequest := record.(request); isRequest {
		r.requests++
	}
}

// Finish completes summary with what was recorded, writes it and closes the file.
func (r *Recorder) Finish(summary Summary) Summary {
	r.mutex.Lock()
	summary.Recorded = r.requests
	if r.err != nil {
		summary.Error = r.err.Error()
	}
	r.mutex.Unlock()
	r.Write(summary)
	if err := errors.Join(r.err, r.file.Close()); err != nil {
		summary.Error = err.Error()
	}
	return summary
}

// WholeLines opens the records at path from byte offset on, up to the last line that is complete.
func WholeLines(path string, offset int64) (io.ReadCloser, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	end, err := lastLineEnd(file)
	if err != nil || offset > end {
		file.Close()
		return nil, cmp.Or(err, fmt.Errorf("offset %d is beyond the records", offset))
	}
	return section{io.NewSectionReader(file, offset, end-offset), file}, nil
}

type section struct {
	io.Reader
	io.Closer
}

// lastLineEnd is the offset after the last line feed. A line is written at once, so it is near the end.
func lastLineEnd(file *os.File) (int64, error) {
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	start := max(0, size-longestLine)
	tail := make([]byte, size-start)
	if _, err := file.ReadAt(tail, start); err != nil {
		return 0, err
	}
	return start + int64(bytes.LastIndexByte(tail, '\n')) + 1, nil
}
