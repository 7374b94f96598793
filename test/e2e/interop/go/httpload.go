package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
)

// httpDriver drives the peer's HTTP server through streams of the session.
func httpDriver(opener *opener, size int64) (func(int) (int64, error), func()) {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialStream(ctx, opener)
		},
		MaxIdleConnsPerHost: cap(opener.slots),
		DisableCompression:  true,
	}
	client := &http.Client{Transport: transport, Timeout: streamLimit}
	drive := func(i int) (int64, error) {
		return within(streamLimit, func() (int64, error) {
			if err := getHello(client); err != nil {
				return 0, fmt.Errorf("GET /hello: %w", err)
			}
			n, err := postEcho(client, uint32(i)+1, size)
			if err != nil {
				return n, fmt.Errorf("POST /echo: %w", err)
			}
			return n, nil
		})
	}
	return drive, transport.CloseIdleConnections
}

// dialStream opens a stream; one that comes too late is closed again.
func dialStream(ctx context.Context, opener *opener) (net.Conn, error) {
	if err := opener.enter(); err != nil {
		return nil, err
	}
	type opened struct {
		stream net.Conn
		err    error
	}
	done := make(chan opened, 1)
	go func() {
		stream, err := opener.open()
		done <- opened{stream, err}
	}()
	select {
	case o := <-done:
		if o.err != nil {
			return nil, o.err
		}
		return &httpConn{Conn: o.stream}, nil
	case <-ctx.Done():
		go func() {
			if o := <-done; o.err == nil {
				finish(o.stream)
			}
		}()
		return nil, ctx.Err()
	}
}

func getHello(client *http.Client) error {
	res, err := client.Get("http://peer/hello")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return err
	case res.StatusCode != http.StatusOK:
		return errors.New(res.Status)
	case len(body) == 0:
		return errors.New("empty body")
	}
	return nil
}

func postEcho(client *http.Client, seed uint32, size int64) (int64, error) {
	body := io.LimitReader(newPattern(seed), size)
	req, err := http.NewRequest(http.MethodPost, "http://peer/echo", body)
	if err != nil {
		return 0, err
	}
	req.ContentLength = size
	if size == 0 {
		req.Body = http.NoBody
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return 0, errors.New(res.Status)
	}
	check := newChecker(seed)
	if _, err := io.Copy(check, res.Body); err != nil {
		return check.n, err
	}
	if check.n != size {
		return check.n, fmt.Errorf("%d bytes came back, expected %d", check.n, size)
	}
	return check.n, nil
}
