package load

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"meshguard.dev/testbed/shop/internal/server"
)

// workload is one server of the shop on a loopback address.
type workload struct {
	address  string
	drain    server.Drain
	listener *pausable
	stop     context.CancelFunc
	stopped  chan struct{}
}

// run starts a workload; it is stopped at the end of the test at the latest.
func run(t *testing.T, config server.Config) *workload {
	t.Helper()
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &workload{
		address: raw.Addr().String(), listener: &pausable{Listener: raw}, stop: cancel, stopped: make(chan struct{}),
	}
	config.Pod = config.Name + "-0"
	go func() {
		defer close(w.stopped)
		// Killed servers end with an error, which is what the test wants to see from outside.
		_ = server.Serve(ctx, config, w.listener, &w.drain)
	}()
	t.Cleanup(func() { w.stop(); <-w.stopped })
	return w
}

// pausable is a listener whose connections can be stalled or cut, as a server's that hangs or is killed.
type pausable struct {
	net.Listener
	gate  sync.RWMutex // held for writing: nothing can be read
	mutex sync.Mutex
	open  []net.Conn
}

type pausableConn struct {
	net.Conn
	gate *sync.RWMutex
}

func (p *pausable) Accept() (net.Conn, error) {
	conn, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.open = append(p.open, conn)
	return pausableConn{conn, &p.gate}, nil
}

func (c pausableConn) Write(b []byte) (int, error) {
	c.gate.RLock()
	defer c.gate.RUnlock()
	return c.Conn.Write(b)
}

// kill cuts everything at once, without a word.
func (p *pausable) kill() {
	p.Listener.Close()
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for _, conn := range p.open {
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
}

// shop is the whole chain: storefront -> cart -> payments and ledger, storefront -> catalogue.
type shop struct{ storefront, cart, payments, ledger, catalogue *workload }

func runShop(t *testing.T) shop {
	t.Helper()
	var s shop
	s.payments = run(t, server.Config{Name: "payments", Protocol: "http"})
	s.ledger = run(t, server.Config{Name: "ledger", Protocol: "tcp"})
	s.catalogue = run(t, server.Config{Name: "catalogue", Protocol: "grpc"})
	s.cart = run(t, server.Config{Name: "cart", Protocol: "http", Upstreams: map[string]string{
		"payments": "http://" + s.payments.address, "ledger": "tcp://" + s.ledger.address,
	}})
	s.storefront = run(t, server.Config{Name: "storefront", Protocol: "http", Upstreams: map[string]string{
		"cart": "http://" + s.cart.address + "?maxage=300ms", "catalogue": "grpc://" + s.catalogue.address,
	}})
	return s
}

func (s shop) edges() []Edge {
	edge := func(caller, callee, protocol, target, entry string) Edge {
		return Edge{Caller: caller, Callee: callee, Protocol: protocol, Target: target, Entry: entry, Rate: 50, Fresh: 0.3}
	}
	return []Edge{
		edge("load", "storefront", "http", "http://"+s.storefront.address, ""),
		edge("storefront", "cart", "http", "http://"+s.storefront.address+"/call/cart", "storefront"),
		edge("storefront", "catalogue", "grpc", "http://"+s.storefront.address+"/call/catalogue", "storefront"),
		edge("cart", "payments", "http", "http://"+s.storefront.address+"/call/cart/call/payments", "storefront"),
		edge("cart", "ledger", "tcp", "http://"+s.cart.address+"/call/ledger", "cart"),
		edge("load", "ledger", "tcp", "tcp://"+s.ledger.address, ""),
		edge("load", "catalogue", "grpc", "grpc://"+s.catalogue.address, ""),
	}
}

// load runs the load on every edge of s and returns what was recorded, once it is complete.
func (s shop) load(t *testing.T, meanwhile func()) ([]request, []streamEvent) {
	t.Helper()
	config := Config{
		Run: "test", MaxSeconds: 60, TimeoutMS: 3000, MaxInFlight: 500, Edges: s.edges(),
		Streams: []Stream{{Callee: "catalogue", Target: "grpc://" + s.catalogue.address}},
	}
	path := filepath.Join(t.TempDir(), "records.jsonl")
	recorder, err := NewRecorder(path)
	if err != nil {
		t.Fatal(err)
	}
	running, err := Start(config, recorder)
	if err != nil {
		t.Fatal(err)
	}
	meanwhile()
	summary := running.Stop("the test is over")
	if err := summary.Complete(); err != nil || summary.Sent == 0 {
		t.Fatalf("%v: %+v", err, summary)
	}
	requests, streams := readRecords(t, path)
	if len(requests) != summary.Sent {
		t.Fatalf("sent %d, found %d in the file", summary.Sent, len(requests))
	}
	return requests, streams
}

func readRecords(t *testing.T, path string) (requests []request, streams []streamEvent) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var line request
		var event streamEvent
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		switch line.Kind {
		case "request":
			requests = append(requests, line)
		case "stream":
			if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
				t.Fatal(err)
			}
			streams = append(streams, event)
		}
	}
	return requests, streams
}

func pause(d time.Duration) func() { return func() { time.Sleep(d) } }

func TestCalmShopAnswersEverythingOnNewAndReusedConnections(t *testing.T) {
	requests, streams := runShop(t).load(t, pause(1500*time.Millisecond))
	connections := map[string]map[string]int{}
	for _, line := range requests {
		if line.Outcome != "ok" {
			t.Fatalf("failed: %+v", line)
		}
		for _, leg := range line.Legs {
			if !leg.Nonce || leg.Pod == "" || leg.Proof != "" {
				t.Fatalf("leg: %+v", leg)
			}
			if connections[leg.Edge] == nil {
				connections[leg.Edge] = map[string]int{}
			}
			connections[leg.Edge][leg.Conn]++
			if line.Fresh && leg.Conn != "new" {
				t.Errorf("a fresh request on a %s connection: %+v", leg.Conn, leg)
			}
		}
	}
	if len(connections) != 8 { // the seven, and load->cart on the way
		t.Errorf("edges seen: %v", connections)
	}
	for edge, count := range connections {
		if count["new"] == 0 || count["reused"] == 0 {
			t.Errorf("%s: %v", edge, count)
		}
	}
	if len(streams) != 2 || streams[0].Event != "opened" || streams[1].Reason != "the run ended" {
		t.Errorf("stream: %+v", streams)
	}
}

func TestKilledServerShowsAsFailuresOfTheEdgesToIt(t *testing.T) {
	s := runShop(t)
	requests, _ := s.load(t, func() {
		time.Sleep(500 * time.Millisecond)
		s.payments.listener.kill()
		s.ledger.listener.kill()
		time.Sleep(500 * time.Millisecond)
	})
	failed := map[string]int{}
	for _, line := range requests {
		if line.Outcome == "ok" {
			continue
		}
		failed[line.Failed]++
		if line.Failed != line.Edge {
			t.Errorf("%s blames %s", line.Edge, line.Failed)
		}
		if first := line.Legs[0]; len(line.Legs) > 1 && (first.Outcome != "ok" || first.Status != 502) {
			t.Errorf("the hop before the failure: %+v", first)
		}
	}
	for _, edge := range []string{"cart->payments", "cart->ledger", "load->ledger"} {
		if failed[edge] < 15 { // 50 a second for half a second
			t.Errorf("%s: %d failed", edge, failed[edge])
		}
		delete(failed, edge)
	}
	if len(failed) != 0 {
		t.Errorf("others failed too: %v", failed)
	}
}

func TestStallShowsInEveryLatencyThatItTouches(t *testing.T) {
	const stall = 600 * time.Millisecond
	s := runShop(t)
	requests, _ := s.load(t, func() {
		time.Sleep(300 * time.Millisecond)
		s.cart.listener.gate.Lock()
		time.Sleep(stall)
		s.cart.listener.gate.Unlock()
		time.Sleep(300 * time.Millisecond)
	})
	// A closed loop would send a handful into the stall. Here each one that was due then has waited: the
	// first for all of it, the next for the rest; so half of them for more than half of it.
	slow := map[string]int{}
	for _, line := range requests {
		if line.Outcome != "ok" {
			t.Fatalf("failed: %+v", line)
		}
		if line.Micros > stall.Microseconds()/2 {
			slow[line.Edge]++
		}
	}
	for _, edge := range []string{"storefront->cart", "cart->payments", "cart->ledger"} {
		if slow[edge] < 12 { // 50 a second for 0.3 s, less what scheduling takes
			t.Errorf("%s: %d slow", edge, slow[edge])
		}
	}
}

func TestGracefulStopLosesNothingOnKeptConnections(t *testing.T) {
	s := runShop(t)
	requests, streams := s.load(t, func() {
		time.Sleep(300 * time.Millisecond)
		for _, w := range []*workload{s.cart, s.payments, s.ledger, s.catalogue} {
			w.drain.Begin()
		}
		time.Sleep(300 * time.Millisecond)
	})
	late := map[string]int{} // the last connections of each edge, well after draining began
	for _, line := range requests {
		if line.Outcome != "ok" {
			t.Fatalf("failed: %+v", line)
		}
		if line.At > requests[len(requests)-1].At-200e6 {
			leg := line.Legs[len(line.Legs)-1]
			late[leg.Edge+" "+leg.Conn]++
		}
	}
	for _, edge := range []string{"storefront->cart", "cart->payments", "cart->ledger", "load->ledger"} {
		// A connection that lay idle meanwhile is used once more, which is when it hears of it.
		if late[edge+" reused"] > late[edge+" new"]/4 {
			t.Errorf("a draining server's connections go on being used: %v", late)
		}
	}
	if late["load->storefront reused"] == 0 || len(streams) != 2 {
		t.Errorf("a server that does not drain lost connections: %v, %+v", late, streams)
	}
}

func TestStoppingServerEndsTheStreamWithAReason(t *testing.T) {
	s := runShop(t)
	_, streams := s.load(t, func() {
		time.Sleep(300 * time.Millisecond)
		s.catalogue.stop()
		<-s.catalogue.stopped
	})
	if len(streams) < 2 || streams[1].Code != "Unavailable" || !strings.Contains(streams[1].Reason, "stopping") {
		t.Errorf("stream: %+v", streams)
	}
}

func TestRequestsBeyondTheCapAreRecordedAsFailed(t *testing.T) {
	w := run(t, server.Config{Name: "cart", Protocol: "http"})
	w.listener.gate.Lock()
	path := filepath.Join(t.TempDir(), "records.jsonl")
	recorder, err := NewRecorder(path)
	if err != nil {
		t.Fatal(err)
	}
	edge := Edge{Caller: "load", Callee: "cart", Protocol: "http", Target: "http://" + w.address, Rate: 100}
	running, err := Start(Config{Run: "test", MaxSeconds: 1, TimeoutMS: 1000, MaxInFlight: 5, Edges: []Edge{edge}}, recorder)
	if err != nil {
		t.Fatal(err)
	}
	<-running.Done() // by itself, after its longest time
	w.listener.gate.Unlock()
	summary := running.Stop("too late")
	if err := summary.Complete(); err != nil || summary.Sent < 100 || summary.Reason != "max_seconds reached" {
		t.Fatalf("%v: %+v", err, summary)
	}
	outcomes := map[string]int{}
	requests, _ := readRecords(t, path)
	for _, line := range requests {
		outcomes[line.Outcome]++
	}
	if outcomes["overload"] < 90 || outcomes["timeout"] < 5 || outcomes["ok"] != 0 {
		t.Errorf("outcomes: %v", outcomes)
	}
}

func TestAnswerToAnotherRequestIsAFailure(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	genuine := run(t, server.Config{Name: "cart", Protocol: "tcp"})
	go cache(listener, genuine.address)
	path := filepath.Join(t.TempDir(), "records.jsonl")
	recorder, err := NewRecorder(path)
	if err != nil {
		t.Fatal(err)
	}
	edge := Edge{Caller: "load", Callee: "cart", Protocol: "tcp", Target: "tcp://" + listener.Addr().String(), Rate: 50, Fresh: 1}
	running, err := Start(Config{Run: "test", MaxSeconds: 1, TimeoutMS: 1000, MaxInFlight: 50, Edges: []Edge{edge}}, recorder)
	if err != nil {
		t.Fatal(err)
	}
	<-running.Done()
	requests, _ := readRecords(t, path)
	for _, line := range requests {
		if line.Outcome != "nonce" || line.Legs[0].Nonce {
			t.Fatalf("a cached answer passed: %+v", line)
		}
	}
}

// cache asks the server at address once and gives that answer to everybody.
func cache(listener net.Listener, address string) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer conn.Close()
	lines := bufio.NewReader(conn)
	banner, _ := lines.ReadString('\n')
	conn.Write([]byte(strings.TrimSpace(strings.TrimPrefix(banner, "LEDGER ")) + " an-id\n"))
	cached, _ := lines.ReadString('\n')
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer client.Close()
			client.Write([]byte(banner))
			bufio.NewReader(client).ReadString('\n')
			client.Write([]byte(cached))
		}()
	}
}
