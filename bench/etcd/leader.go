package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// leader prints the endpoint of the member that leads.
func leader(arguments []string) error {
	flags := flag.NewFlagSet("leader", flag.ExitOnError)
	endpoints := flags.String("endpoints", "127.0.0.1:2379", "addresses of all members")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	all := strings.Split(*endpoints, ",")
	client, err := clientv3.New(clientv3.Config{Endpoints: all, DialTimeout: 5 * time.Second})
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, endpoint := range all {
		status, err := client.Status(ctx, endpoint)
		if err != nil {
			return err
		}
		if status.Leader == status.Header.MemberId {
			return json.NewEncoder(os.Stdout).Encode(map[string]string{"leader": endpoint})
		}
	}
	return errors.New("no member leads")
}
