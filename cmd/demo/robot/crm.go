package robot

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/chromedp/chromedp"
)

// Login logs in to the CRM at url as a person ("director").
func (r *Robot) Login(url, person string) error {
	r.url = url
	return r.do(r.tab, "logging in", front, chromedp.Navigate(url+"/"),
		click(chromedp.CSS("#as-"+person)), visible(chromedp.CSS(".deals")))
}

// OpenDeal opens a deal's page ("41") and waits until the page knows how the
// agent is.
func (r *Robot) OpenDeal(id string) error {
	return r.do(r.tab, "opening deal "+id, front, chromedp.Navigate(r.url+"/deals/"+id), visible(chromedp.CSS("#agent-status")),
		settled(`document.querySelector('#agent-status').dataset.status !== 'checking'`))
}

// AgentStatus returns the client's status as the page shows it.
func (r *Robot) AgentStatus() (string, error) {
	return evaluate[string](r, r.tab, "reading the agent's status", `document.querySelector('#agent-status').dataset.status`)
}

// WaitAgent waits until the page shows one of the client's statuses.
func (r *Robot) WaitAgent(status string) error {
	return r.do(r.tab, "waiting for the agent to be "+status, settled(`document.querySelector('#agent-status').dataset.status === `+strconv.Quote(status)))
}

// Connect presses Connect, allows the site on the agent's page, and waits
// until the agent is ready.
func (r *Robot) Connect() error {
	if err := r.Press("connect"); err != nil {
		return err
	}
	if err := r.withPage((*Page).AllowSite); err != nil {
		return err
	}
	return r.do(r.tab, "waiting until the agent is ready",
		settled(`['ready', 'no_token'].includes(document.querySelector('#agent-status').dataset.status)`))
}

// Press presses one of the page's buttons by its ID: "sign", "connect",
// "again", "cancel", "enrol".
func (r *Robot) Press(button string) error {
	return r.do(r.tab, "pressing "+button, front, visible(chromedp.CSS("#"+button)),
		settled(`!document.querySelector('#`+button+`').disabled`), click(chromedp.CSS("#"+button)))
}

// Sign presses Sign.
func (r *Robot) Sign() error { return r.Press("sign") }

// Outcome waits for the end of what Sign began and returns the word for it
// ("signed", "rejected", "parked", "delivering", "left", "failed") and the
// page's text.
func (r *Robot) Outcome() (word, text string, err error) {
	const what = "waiting for the outcome"
	if err := r.do(r.tab, what, settled(`document.querySelector('#outcome').dataset.outcome !== ''`)); err != nil {
		return "", "", err
	}
	word, err = evaluate[string](r, r.tab, what, `document.querySelector('#outcome').dataset.outcome`)
	if err != nil {
		return "", "", err
	}
	text, err = evaluate[string](r, r.tab, what, `document.querySelector('#outcome').innerText`)
	return word, text, err
}

// WaitStatus waits until the CRM shows a deal's status: "sent", "opened",
// "signed", "both", "rejected".
func (r *Robot) WaitStatus(status string) error {
	return r.do(r.tab, "waiting until the deal is "+status, settled(`document.querySelector('#live').dataset.status === `+strconv.Quote(status)))
}

// MoveToken presses the demo's helper that pulls or inserts a soft token
// ("altyn", "baiterek"), and waits until it has.
func (r *Robot) MoveToken(id string) error {
	button := `document.querySelector('[data-token="` + id + `"]')`
	before, err := evaluate[string](r, r.tab, "looking for the token", button+`.dataset.in`)
	if err != nil {
		return err
	}
	// By script: the page may be drawing this part anew.
	return r.do(r.tab, "moving the token", settled(`(`+button+`.click(), true)`), settled(button+`?.dataset.in !== `+strconv.Quote(before)))
}

// SignDeal plays the whole of it: opens the deal, connects the site if it is
// not allowed yet, presses Sign, approves in the prompt, and waits until the
// CRM says want ("signed" or "both").
func (r *Robot) SignDeal(id, pin, name, want string) error {
	if err := r.OpenDeal(id); err != nil {
		return r.failed(err)
	}
	status, err := r.AgentStatus()
	if err != nil {
		return r.failed(err)
	}
	if status == "site_not_allowed" {
		if err := r.Connect(); err != nil {
			return r.failed(err)
		}
	}
	if err := r.Sign(); err != nil {
		return r.failed(err)
	}
	if err := r.ApprovePrompt(pin, name); err != nil {
		return r.failed(err)
	}
	word, text, err := r.Outcome()
	if err == nil && word != "signed" {
		err = fmt.Errorf("the page says %s: %s", word, text)
	}
	if err != nil {
		return r.failed(err)
	}
	if err := r.WaitStatus(want); err != nil {
		return r.failed(err)
	}
	return nil
}

// failed adds a picture of the CRM's page to an error.
func (r *Robot) failed(err error) error {
	shot, shotErr := r.Picture("crm")
	return errors.Join(err, noted(shot), shotErr)
}
