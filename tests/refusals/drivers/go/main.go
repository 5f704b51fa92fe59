// go-client net/http|resty|fasthttp < cases > outcomes; a line of JSON each.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/valyala/fasthttp"
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

func (r request) bytes() []byte { return bytes.Repeat([]byte("x"), r.Size) }

// What a client returned: status and body.
type send func(request) (int, []byte, error)

func netHTTP() send {
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{}}
	return func(asked request) (int, []byte, error) {
		var body io.Reader
		if asked.Size > 0 {
			body = bytes.NewReader(asked.bytes())
			if asked.Chunked {
				body = unmeasured{body}
			}
		}
		made, err := http.NewRequest(asked.Method, asked.URL, body)
		if err != nil {
			return 0, nil, err
		}
		for name, value := range asked.Headers {
			made.Header.Set(name, value)
		}
		answer, err := client.Do(made)
		if err != nil {
			return 0, nil, err
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		return answer.StatusCode, text, err
	}
}

func withResty() send {
	client := resty.New().SetTimeout(time.Minute)
	return func(asked request) (int, []byte, error) {
		made := client.R().SetHeaders(asked.Headers)
		if asked.Size > 0 && asked.Chunked {
			made.SetBody(unmeasured{bytes.NewReader(asked.bytes())})
		} else if asked.Size > 0 {
			made.SetBody(asked.bytes())
		}
		answer, err := made.Execute(asked.Method, asked.URL)
		return answer.StatusCode(), answer.Body(), err
	}
}

func withFastHTTP() send {
	client := &fasthttp.Client{}
	return func(asked request) (int, []byte, error) {
		made, answer := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
		defer fasthttp.ReleaseRequest(made)
		defer fasthttp.ReleaseResponse(answer)
		made.SetRequestURI(asked.URL)
		made.Header.SetMethod(asked.Method)
		for name, value := range asked.Headers {
			made.Header.Set(name, value)
		}
		if asked.Size > 0 && asked.Chunked {
			made.SetBodyStream(bytes.NewReader(asked.bytes()), -1)
		} else if asked.Size > 0 {
			made.SetBody(asked.bytes())
		}
		if err := client.DoTimeout(made, answer, time.Minute); err != nil {
			return 0, nil, err
		}
		return answer.StatusCode(), append([]byte(nil), answer.Body()...), nil
	}
}

func told(status int, body []byte, err error) outcome {
	var problem struct{ Code string }
	if err == nil {
		err = json.Unmarshal(body, &problem)
	}
	if err != nil {
		return outcome{Status: status, Error: err.Error()}
	}
	return outcome{Status: status, Code: problem.Code}
}

func main() {
	ask := map[string]func() send{"net/http": netHTTP, "resty": withResty, "fasthttp": withFastHTTP}[os.Args[1]]()
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked request
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			panic(err)
		}
		out.Encode(told(ask(asked)))
	}
}
