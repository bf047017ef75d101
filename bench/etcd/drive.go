package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// The keys that are written and read in turn. The load on the project's own server has the same.
const keys = 1000

// The most requests of an open loop that wait for an answer. More mean that the member cannot keep the rate.
const mostOutstanding = 100_000

type load struct {
	clients []*clientv3.Client
	payload string
	mix     string
	next    atomic.Uint64
	refused atomic.Uint64
	from    time.Time
	to      time.Time
}

// request sends one request and waits for its answer. etcd refuses requests while 5,000 entries wait to be applied; such a request is
// sent again after a moment, which its latency includes.
func (l *load) request() error {
	for {
		err := l.attempt()
		if !errors.Is(err, rpctypes.ErrTooManyRequests) {
			return err
		}
		l.refused.Add(1)
		time.Sleep(time.Millisecond)
	}
}

func (l *load) attempt() error {
	number := l.next.Add(1)
	client := l.clients[number%uint64(len(l.clients))]
	key := fmt.Sprintf("key-%04d", number%keys)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if l.mix == "queries" || l.mix == "mixed" && number%2 == 0 {
		// Linearizable, which is the default.
		_, err := client.Get(ctx, key)
		return err
	}
	_, err := client.Put(ctx, key, l.payload)
	return err
}

// counts returns true if an answer at this time belongs to the measurement.
func (l *load) counts(at time.Time) bool { return !at.Before(l.from) && at.Before(l.to) }

// closed keeps inFlight requests in flight and returns the latencies of the measured ones.
func (l *load) closed(inFlight int) ([]time.Duration, error) {
	took := make([][]time.Duration, inFlight)
	failures := make([]error, inFlight)
	var waiting sync.WaitGroup
	for caller := range inFlight {
		waiting.Go(func() {
			for begin := time.Now(); begin.Before(l.to); {
				if failures[caller] = l.request(); failures[caller] != nil {
					return
				}
				end := time.Now()
				if l.counts(end) {
					took[caller] = append(took[caller], end.Sub(begin))
				}
				begin = end
			}
		})
	}
	waiting.Wait()
	var all []time.Duration
	for _, some := range took {
		all = append(all, some...)
	}
	return all, errors.Join(failures...)
}

// open sends requests at fixed times, and returns latencies from these times on, and how many requests had no answer at the end.
func (l *load) open(start time.Time, rate float64) ([]time.Duration, int64, error) {
	var lock sync.Mutex
	var took []time.Duration
	var failure error
	var outstanding, behind atomic.Int64
	var waiting sync.WaitGroup
	for number := 0; ; number++ {
		due := start.Add(time.Duration(float64(number) / rate * 1e9))
		if !due.Before(l.to) {
			break
		}
		time.Sleep(time.Until(due))
		if outstanding.Load() >= mostOutstanding {
			return nil, 0, fmt.Errorf("%d requests have no answer: the rate is too high", mostOutstanding)
		}
		outstanding.Add(1)
		waiting.Go(func() {
			err := l.request()
			end := time.Now()
			outstanding.Add(-1)
			lock.Lock()
			defer lock.Unlock()
			switch {
			case err != nil:
				failure = err
			case l.counts(end):
				took = append(took, end.Sub(due))
			case !end.Before(l.to):
				behind.Add(1)
			}
		})
	}
	waiting.Wait()
	return took, behind.Load(), failure
}

func cpu() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func drive(arguments []string) error {
	flags := flag.NewFlagSet("drive", flag.ExitOnError)
	endpoint := flags.String("endpoint", "127.0.0.1:2379", "address of the member")
	connections := flags.Int("connections", 1, "connections, each with its own client")
	inFlight := flags.Int("in-flight", 1, "requests in flight, if no rate is given")
	rate := flags.Float64("rate", 0, "requests per second, each due at a fixed time")
	payload := flags.Int("payload", 64, "length of a value in bytes")
	mix := flags.String("mix", "commands", "commands, queries or mixed")
	millis := flags.Int("millis", 1000, "duration of the measurement in milliseconds")
	warmUp := flags.Int("warm-up-millis", 300, "duration of the warm-up in milliseconds")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	l := load{payload: string(make([]byte, *payload)), mix: *mix}
	for range *connections {
		client, err := clientv3.New(clientv3.Config{
			Endpoints:   []string{*endpoint},
			DialTimeout: 10 * time.Second,
			// It would warn of each refused request.
			Logger: zap.NewNop(),
		})
		if err != nil {
			return err
		}
		defer client.Close()
		// Opens the connection.
		if _, err := client.Get(context.Background(), "key"); err != nil {
			return err
		}
		l.clients = append(l.clients, client)
	}
	start := time.Now()
	l.from = start.Add(time.Duration(*warmUp) * time.Millisecond)
	l.to = l.from.Add(time.Duration(*millis) * time.Millisecond)
	var used [2]time.Duration
	time.AfterFunc(time.Until(l.from), func() { used[0] = cpu() })
	time.AfterFunc(time.Until(l.to), func() { used[1] = cpu() })
	var took []time.Duration
	var behind int64
	var err error
	if *rate > 0 {
		took, behind, err = l.open(start, *rate)
	} else {
		took, err = l.closed(*inFlight)
	}
	if err != nil {
		return err
	}
	latencies := hdrhistogram.New(1, 60_000_000, 3)
	for _, each := range took {
		if err := latencies.RecordValue(min(each.Microseconds(), 60_000_000)); err != nil {
			return err
		}
	}
	count := len(took)
	seconds := l.to.Sub(l.from).Seconds()
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"count":   count,
		"total":   l.next.Load() - l.refused.Load(),
		"refused": l.refused.Load(),
		"rate":    float64(count) / seconds,
		"cpu":     float64((used[1] - used[0]).Microseconds()) / float64(max(count, 1)),
		"p50":     latencies.ValueAtQuantile(50),
		"p99":     latencies.ValueAtQuantile(99),
		"max":     latencies.Max(),
		"behind":  behind,
	})
}
