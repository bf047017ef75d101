// Command etcd is what zraft-bench measures beside the project's own server: an etcd member, and load on a member by etcd's Go client.
//
//	etcd leader --endpoints 127.0.0.1:2379,127.0.0.1:2380
//	etcd drive --endpoint 127.0.0.1:2379 --in-flight 64
//
// print the leader's endpoint, and the result of a load on a member, as one line of JSON. All other arguments are those of etcd's own
// program.
package main

import (
	"fmt"
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	commands := map[string]func([]string) error{"leader": leader, "drive": drive}
	if len(os.Args) > 1 && commands[os.Args[1]] != nil {
		if err := commands[os.Args[1]](os.Args[2:]); err != nil {
			fmt.Fprintf(os.Stderr, "etcd %s: %v\n", os.Args[1], err)
			os.Exit(1)
		}
		return
	}
	etcdmain.Main(os.Args)
}
