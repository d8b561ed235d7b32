// Command tokenhost is the token process: the only program that loads a
// vendor's PKCS#11 library. The agent starts one for each library, with the
// library's absolute path as its argument, and speaks package wire to it over
// standard input and output. It ends when its input does.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"tanba/tokens/pkcs11"
	"tanba/tokens/wire"
)

// closeWait is how long the library may take to end.
const closeWait = 2 * time.Second

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "tokenhost:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: tokenhost LIBRARY (the absolute path of a PKCS#11 library; the agent starts this program)")
	}
	if err := harden(); err != nil {
		return err
	}
	out, err := takeOutput()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	d, err := pkcs11.Open(args[0], log)
	if err != nil {
		return errors.Join(err, wire.Refuse(out, err))
	}
	err = wire.Serve(ctx, os.Stdin, out, d)
	// The agent has gone or sent what we cannot read. A library that hangs does
	// not keep us.
	closed := make(chan error, 1)
	go func() { closed <- d.Close() }()
	select {
	case e := <-closed:
		return errors.Join(err, e)
	case <-time.After(closeWait):
		return errors.Join(err, errors.New("library did not end"))
	}
}
