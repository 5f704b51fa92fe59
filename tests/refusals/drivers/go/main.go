// go-client < cases > outcomes; a line of JSON each. net/http.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"time"
)

type request struct {
	URL, Method string
	Headers     map[string]string
	Size        int
	Chunked     bool
}

type outcome struct {
	Status int    `json:"status,omitempty"`
	Code   string `json:"code,omitempty"`
	Error  string `json:"error,omitempty"`
}

// Hides the length, so that the body is sent in chunks.
type unmeasured struct{ io.Reader }

func send(client *http.Client, asked request) outcome {
	var body io.Reader
	if asked.Size > 0 {
		body = bytes.NewReader(bytes.Repeat([]byte("x"), asked.Size))
		if asked.Chunked {
			body = unmeasured{body}
		}
	}
	made, err := http.NewRequest(asked.Method, asked.URL, body)
	if err != nil {
		return outcome{Error: err.Error()}
	}
	for name, value := range asked.Headers {
		if name == "Host" {
			made.Host = value
			continue
		}
		made.Header.Set(name, value)
	}
	answer, err := client.Do(made)
	if err != nil {
		return outcome{Error: err.Error()}
	}
	defer answer.Body.Close()
	var problem struct{ Code string }
	if err := json.NewDecoder(answer.Body).Decode(&problem); err != nil {
		return outcome{Status: answer.StatusCode, Error: err.Error()}
	}
	io.Copy(io.Discard, answer.Body)
	return outcome{Status: answer.StatusCode, Code: problem.Code}
}

func main() {
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{}}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked request
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			panic(err)
		}
		out.Encode(send(client, asked))
	}
}
