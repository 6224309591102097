// Porcupine at the cases of bench/judge/run: `register FILE...`, `kv FILE...`, each file in rows (see bench/common/src/rows.rs).
package main

import (
	"bufio"
	"fmt"
	"hash/maphash"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// An empty register, and an answer that is not known.
const (
	empty   = math.MinInt64
	unknown = 2
)

type input struct {
	f, key string
	value  string
	a, b   int
}

type output struct {
	value string
	a     int
	swap  int
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	if err != nil {
		return empty
	}
	return value
}

var register = porcupine.Model{
	Init: func() interface{} { return empty },
	Step: func(state, in, out interface{}) (bool, interface{}) {
		was, asked, told := state.(int), in.(input), out.(output)
		switch asked.f {
		case "read":
			return was == told.a, was
		case "write":
			return true, asked.a
		}
		swap, next := 0, was
		if was == asked.a {
			swap, next = 1, asked.b
		}
		return told.swap == unknown || told.swap == swap, next
	},
	Hash: func(state interface{}) uint64 { return uint64(state.(int)) },
}

var seed = maphash.MakeSeed()

func hash(state interface{}) uint64 {
	var hash maphash.Hash
	hash.SetSeed(seed)
	hash.WriteString(state.(string))
	return hash.Sum64()
}

var store = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		keys := map[string][]porcupine.Operation{}
		names := []string{}
		for _, operation := range history {
			key := operation.Input.(input).key
			if _, known := keys[key]; !known {
				names = append(names, key)
			}
			keys[key] = append(keys[key], operation)
		}
		sort.Strings(names)
		parts := [][]porcupine.Operation{}
		for _, name := range names {
			parts = append(parts, keys[name])
		}
		return parts
	},
	Init: func() interface{} { return "" },
	Step: func(state, in, out interface{}) (bool, interface{}) {
		was, asked, told := state.(string), in.(input), out.(output)
		switch asked.f {
		case "get":
			return was == told.value, was
		case "put":
			return true, asked.value
		}
		return true, was + asked.value
	},
	Hash: hash,
}

func read(path string) []porcupine.Operation {
	file, err := os.Open(path)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(make([]byte, 1<<20), 1<<26)
	history := []porcupine.Operation{}
	for lines.Scan() {
		field := strings.Split(lines.Text(), "\t")
		in := input{f: field[3], key: field[4], value: field[5], a: number(field[5])}
		out := output{value: field[5], a: number(field[5])}
		if in.f == "cas" {
			second := strings.Split(field[6], " ")
			in.b = number(second[0])
			out.swap = map[string]int{"true": 1, "false": 0, "?": unknown}[second[1]]
		}
		client, _ := strconv.Atoi(field[0])
		call, _ := strconv.ParseInt(field[1], 10, 64)
		end, _ := strconv.ParseInt(field[2], 10, 64)
		history = append(history, porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: end})
	}
	return history
}

func main() {
	model := register
	if os.Args[1] == "kv" {
		model = store
	}
	for _, path := range os.Args[2:] {
		history := read(path)
		least, valid := time.Duration(math.MaxInt64), false
		begun := time.Now()
		for runs := 0; runs == 0 || (runs < 200 && time.Since(begun) < 300*time.Millisecond); runs++ {
			start := time.Now()
			valid = porcupine.CheckOperations(model, history)
			if took := time.Since(start); took < least {
				least = took
			}
		}
		fmt.Printf("{\"file\":%q,\"ns\":%d,\"valid\":%v}\n", filepath.Base(path), least.Nanoseconds(), valid)
	}
}
