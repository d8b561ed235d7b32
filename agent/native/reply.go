package native

import (
	"bytes"
	"encoding/json"

	"tanba/agent/job"
)

// The messages of the agent, as they are written.
type (
	resultMessage struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Result  any             `json:"result"`
	}
	errorMessage struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Error   errorBody       `json:"error"`
	}
	errorBody struct {
		Number  int       `json:"code"`
		Message string    `json:"message"`
		Data    errorData `json:"data"`
	}
	errorData struct {
		Code     job.Code `json:"code"`
		Document string   `json:"document,omitempty"`
		At       string   `json:"at,omitempty"`
	}
	notification struct {
		Version string `json:"jsonrpc"`
		Method  string `json:"method"`
		Params  any    `json:"params"`
	}

	helloResult struct {
		Protocol  int         `json:"protocol"`
		Key       string      `json:"key"`
		Signature string      `json:"signature"`
		Version   string      `json:"version"`
		Tokens    int         `json:"tokens"`
		Limits    helloLimits `json:"limits"`
	}
	helloLimits struct {
		Document  int64 `json:"document"`
		Job       int64 `json:"job"`
		Documents int   `json:"documents"`
		Frame     int64 `json:"frame"`
		Chunk     int64 `json:"chunk"`
	}
	uploadResult struct {
		Stream uint32 `json:"stream"`
	}
	receiptResult struct {
		Job       string           `json:"job"`
		Documents []documentResult `json:"documents"`
	}
	documentResult struct {
		ID          string     `json:"id"`
		State       job.State  `json:"state"`
		Code        job.Code   `json:"code,omitempty"`
		SHA256      string     `json:"sha256,omitempty"`
		Certificate string     `json:"certificate,omitempty"`
		Reason      job.Reason `json:"reason,omitempty"`
		Text        string     `json:"text,omitempty"`
	}
	progressParams struct {
		Job   string   `json:"job"`
		Step  job.Step `json:"step"`
		Done  int      `json:"done"`
		Total int      `json:"total"`
	}
	tokensParams struct {
		Present int `json:"present"`
	}
)

func encode(m any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(m); err != nil {
		panic("native: a message that cannot be written: " + err.Error()) // plain structs only
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

func encodeResult(id json.RawMessage, result any) []byte {
	return encode(resultMessage{"2.0", id, result})
}

func encodeError(id json.RawMessage, p *problem) []byte {
	return encode(errorMessage{"2.0", id, errorBody{number(p.Code), Texts[p.Code], errorData{p.Code, p.Document, p.At}}})
}

func encodeNotification(method string, params any) []byte {
	return encode(notification{"2.0", method, params})
}

func receiptOf(r job.Receipt) receiptResult {
	out := receiptResult{Job: r.Job, Documents: make([]documentResult, len(r.Documents))}
	for i, d := range r.Documents {
		out.Documents[i] = documentResult{d.ID, d.State, d.Code, d.SHA256, d.Fingerprint, d.Reason, d.Text}
	}
	return out
}
