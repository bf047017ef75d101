// Checks histories of registers with porcupine, a checker that shares no code with this project's own.
//
// The input has one JSON object on each line, as `zraft-chaos server --history FILE` writes it. An operation whose outcome is unknown
// may take effect at any time after its call, or never: its return is after everything else.
//
// The exit status is 0 if every history is linearizable, 1 if one is not, 2 if the file cannot be used, and 3 if none is wrong and one was
// not decided in time.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"time"

	"github.com/anishathalye/porcupine"
)

const (
	wrong     = 1
	unusable  = 2
	undecided = 3
)

type operation struct {
	Register string  `json:"register"`
	Kind     string  `json:"kind"`
	Value    *string `json:"value"`
	Call     int64   `json:"call"`
	Return   *int64  `json:"return"`
}

// A register holds a text, or nothing before the first write.
var register = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		done := input.(operation)
		value := ""
		if done.Value != nil {
			value = *done.Value
		}
		if done.Kind == "write" {
			return true, value
		}
		return value == state.(string), state
	},
	Equal: func(one, other any) bool { return one == other },
}

func read(path string) (map[string][]porcupine.Operation, int, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	histories, count := map[string][]porcupine.Operation{}, 0
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var done operation
		if err := json.Unmarshal(lines.Bytes(), &done); err != nil {
			return nil, 0, fmt.Errorf("line %d: %w", count+1, err)
		}
		if done.Kind != "write" && done.Kind != "read" {
			return nil, 0, fmt.Errorf("line %d: %q is neither write nor read", count+1, done.Kind)
		}
		end := int64(math.MaxInt64)
		if done.Return != nil {
			end = *done.Return
		} else if done.Kind == "read" {
			continue
		}
		histories[done.Register] = append(histories[done.Register], porcupine.Operation{
			// Each operation has a caller for itself, because one with an unknown outcome never ends.
			ClientId: count, Input: done, Call: done.Call, Return: end,
		})
		count++
	}
	return histories, count, lines.Err()
}

func refuse(reason any) {
	log.Print("porcupine: ", reason)
	os.Exit(unusable)
}

func main() {
	log.SetFlags(0)
	// The search is exponential in the worst case.
	patience := flag.Duration("patience", time.Minute, "longest search for one register")
	flag.Parse()
	if flag.NArg() != 1 {
		refuse("usage: porcupine [-patience 1m] FILE")
	}
	histories, operations, err := read(flag.Arg(0))
	if err != nil {
		refuse(err)
	}
	if operations == 0 {
		refuse("the file has no operation")
	}
	found := map[porcupine.CheckResult]int{}
	for name, history := range histories {
		result := porcupine.CheckOperationsTimeout(register, history, *patience)
		found[result]++
		if result != porcupine.Ok {
			fmt.Printf("%s: %v\n", name, result)
		}
	}
	fmt.Printf("%d registers, %d operations: %d linearizable, %d not linearizable, %d not decided\n",
		len(histories), operations, found[porcupine.Ok], found[porcupine.Illegal], found[porcupine.Unknown])
	switch {
	case found[porcupine.Illegal] > 0:
		os.Exit(wrong)
	case found[porcupine.Unknown] > 0:
		os.Exit(undecided)
	}
}
