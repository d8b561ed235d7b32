package native

import (
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/job"
)

var record = flag.Bool("record", false, "write the agent's lines of the dialogues anew")

// fates are what can become of a job in a dialogue.
var fates = map[string]func(ctx context.Context, req job.Request, step func(s job.Step, done int)) (job.Receipt, error){
	"delivered": func(_ context.Context, req job.Request, step func(job.Step, int)) (job.Receipt, error) {
		for _, s := range []job.Step{job.StepPreparing, job.StepOpened} {
			step(s, 0)
		}
		for _, s := range []job.Step{job.StepSigning, job.StepDelivering, job.StepDone} {
			step(s, 1)
		}
		return job.Receipt{Job: req.ID, Documents: []job.DocumentReceipt{signedAs("contract", job.Delivered)}}, nil
	},
	"rejected": func(_ context.Context, req job.Request, step func(job.Step, int)) (job.Receipt, error) {
		step(job.StepOpened, 0)
		return job.Receipt{Job: req.ID, Documents: []job.DocumentReceipt{{
			ID: "contract", State: job.Rejected,
			Reason: job.ReasonWrongTerms, Text: "The price is last year's.",
		}}}, nil
	},
	"pulled": func(_ context.Context, req job.Request, step func(job.Step, int)) (job.Receipt, error) {
		step(job.StepOpened, 0)
		step(job.StepSigning, 2)
		return job.Receipt{Job: req.ID, Documents: []job.DocumentReceipt{
			signedAs("a", job.Delivered), signedAs("b", job.Delivering),
			{ID: "c", State: job.Failed, Code: job.CodeTokenRemoved},
		}}, nil
	},
	"not_pdf": func(context.Context, job.Request, func(job.Step, int)) (job.Receipt, error) {
		return job.Receipt{}, job.Fail(job.CodeNotPDF, "contract", nil)
	},
	"waits": func(ctx context.Context, _ job.Request, step func(job.Step, int)) (job.Receipt, error) {
		step(job.StepOpened, 0)
		<-ctx.Done()
		return job.Receipt{}, job.Fail(job.CodeCancelled, "", ctx.Err())
	},
}

func signedAs(id string, s job.State) job.DocumentReceipt {
	return job.DocumentReceipt{ID: id, State: s, SHA256: strings.Repeat("5e", 32), Fingerprint: strings.Repeat("c1", 32)}
}

// quiet is how long the agent must say nothing before the page goes on, when
// a dialogue is recorded.
const quiet = 300 * time.Millisecond

func TestDialogues(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, names, "no dialogues")
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(name)
			require.NoError(t, err)
			lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
			require.True(t, strings.HasPrefix(lines[0], "# "), "the reason stands on top")
			got := play(t, lines)
			if *record {
				require.NoError(t, os.WriteFile(name, []byte(strings.Join(got, "\n")+"\n"), 0o644))
				return
			}
			assert.Equal(t, lines, got)
		})
	}
}

// play sends the page's lines and returns all lines as they were.
func play(t *testing.T, lines []string) []string {
	b := newBench(t, func(b *bench) { b.cfg.Now = func() time.Time { return now } })
	b.jobs.state = func(_, id string) (job.Receipt, error) {
		if id != "d40-parked" {
			return job.Receipt{}, job.Fail(job.CodeUnknownJob, "", nil)
		}
		r := signedAs("contract", job.Parked)
		r.Code = job.CodeUnauthorized
		return job.Receipt{Job: id, Documents: []job.DocumentReceipt{r}}, nil
	}
	b.jobs.redeliver = func(_, id string, _ job.Delivery) (job.Receipt, error) {
		return job.Receipt{Job: id, Documents: []job.DocumentReceipt{signedAs("contract", job.Delivered)}}, nil
	}
	origin := crm
	var p *page
	var out []string
	frames := make(chan string, 100)
	for i, line := range lines {
		kind, rest, _ := strings.Cut(line, " ")
		if p == nil && (kind == "→" || kind == "⇒") {
			p = b.dial(origin)
			go func() {
				for {
					_, m, err := p.ReadMessage()
					if e, ok := errors.AsType[*websocket.CloseError](err); ok && e.Code != websocket.CloseGoingAway {
						frames <- "close " + strconv.Itoa(e.Code)
					}
					if err != nil {
						return
					}
					frames <- string(m)
				}
			}()
		}
		switch kind {
		case "#":
		case "@":
			word, arg, _ := strings.Cut(rest, " ")
			switch word {
			case "origin":
				origin = arg
			case "signer":
				b.access = func(context.Context, string) (bool, error) { return arg == "allows", nil }
			case "tokens":
				n, err := strconv.Atoi(arg)
				require.NoError(t, err)
				b.server.TokensChanged(n)
			case "job":
				fate := fates[arg]
				require.NotNil(t, fate, arg)
				b.jobs.run = func(ctx context.Context, req job.Request) (job.Receipt, error) {
					return fate(ctx, req, func(s job.Step, done int) {
						b.server.Progress(req.Origin, job.Progress{Job: req.ID, Step: s, Done: done, Total: len(req.Documents)})
					})
				}
			default:
				require.Fail(t, "unknown line", line)
			}
		case "→":
			p.send(rest)
		case "⇒":
			frame, err := hex.DecodeString(strings.ReplaceAll(rest, " ", ""))
			require.NoError(t, err)
			require.NoError(t, p.WriteMessage(websocket.BinaryMessage, frame))
		case "←":
			if *record {
				continue
			}
			select {
			case f := <-frames:
				out = append(out, "← "+f)
			case <-time.After(10 * time.Second):
				require.Fail(t, "the agent says nothing", line)
			}
			continue
		default:
			require.Fail(t, "unknown line", line)
		}
		out = append(out, line)
		last := i == len(lines)-1 || !strings.HasPrefix(lines[i+1], "←")
		for wait := quiet; p != nil && (*record || last && i == len(lines)-1); {
			select {
			case f := <-frames:
				out = append(out, "← "+f)
				continue
			case <-time.After(wait):
			}
			break
		}
	}
	select {
	case f := <-frames:
		out = append(out, "← "+f)
	case <-time.After(20 * time.Millisecond):
	}
	return out
}

// TestProtocolPage: the examples of PROTOCOL.md are lines of the dialogues, and
// its table has every code with its sentence, number and a remedy.
func TestProtocolPage(t *testing.T) {
	data, err := os.ReadFile("../PROTOCOL.md")
	require.NoError(t, err)
	text := string(data)
	names, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	recorded := map[string]bool{}
	for _, name := range names {
		d, err := os.ReadFile(name)
		require.NoError(t, err)
		for line := range strings.Lines(string(d)) {
			recorded[strings.TrimRight(line, "\n")] = true
		}
	}
	examples := 0
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "→") || strings.HasPrefix(line, "←") || strings.HasPrefix(line, "⇒") {
			examples++
			assert.True(t, recorded[line], "no dialogue has the line %s", line)
		}
	}
	assert.Greater(t, examples, 20)
	for _, m := range []string{"hello", "requestAccess", "upload", "sign", "state", "deliver", "cancel"} {
		assert.Contains(t, text, `→ {"jsonrpc":"2.0","id":1,"method":"`+m+`"`, "an example of the method")
	}

	rows := regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\| (-?[0-9]+) \\| (.+?) \\| (.+) \\|$").FindAllStringSubmatch(text, -1)
	listed := map[job.Code]bool{}
	for _, r := range rows {
		c := job.Code(r[1])
		assert.False(t, listed[c], "%s stands twice", c)
		listed[c] = true
		assert.Equal(t, Texts[c], r[3], c)
		assert.Equal(t, fmt.Sprint(number(c)), r[2], c)
		assert.NotEmpty(t, strings.TrimSpace(r[4]))
	}
	for c := range Texts {
		assert.True(t, listed[c], "%s is missing in the table", c)
	}
}
