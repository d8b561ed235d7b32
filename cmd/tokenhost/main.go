// Command tokenhost is the token process: the only program that loads a
// vendor's PKCS#11 library. The agent starts one for each library, with the
// library's absolute path as its argument, and speaks package wire to it over
// standard input and output. It ends when its input does, whatever the
// library is doing.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"tanba/tokens"
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
	d, in, err := open(args[0], log)
	if err != nil {
		return errors.Join(err, wire.Refuse(out, err))
	}
	err = wire.Serve(ctx, in, out, d)
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

// open loads the library, unless the agent goes meanwhile. It returns the
// input to serve from.
func open(path string, log *slog.Logger) (tokens.Driver, io.Reader, error) {
	type opened struct {
		d   tokens.Driver
		err error
	}
	library, input := make(chan opened, 1), make(chan error, 1)
	go func() {
		d, err := pkcs11.Open(path, log)
		library <- opened{d, err}
	}()
	// One octet, of a frame's length. Before we are ready the agent sends
	// nothing, so what comes first is most likely its end.
	first := make([]byte, 1)
	go func() {
		_, err := io.ReadFull(os.Stdin, first)
		input <- err
	}()
	in := &late{first: first, input: input}
	select {
	case o := <-library:
		return o.d, in, o.err
	case err := <-input:
		if err != nil {
			return nil, nil, fmt.Errorf("input ended while the library was loaded: %w", err)
		}
		input <- nil
		o := <-library
		return o.d, in, o.err
	}
}

// late is standard input, of which the first octet is read already, or will
// be.
type late struct {
	first []byte
	input <-chan error
	r     io.Reader
}

func (l *late) Read(p []byte) (int, error) {
	if l.r == nil {
		if err := <-l.input; err != nil {
			return 0, err
		}
		l.r = io.MultiReader(bytes.NewReader(l.first), os.Stdin)
	}
	return l.r.Read(p)
}
