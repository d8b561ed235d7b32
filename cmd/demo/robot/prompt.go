package robot

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/chromedp/chromedp"
)

// Texts that the agent's pages show are in the signer's language; the robot
// goes by the elements' IDs.
const armed = `document.querySelector('#%s')?.getAttribute('aria-disabled') === 'false'`

// AllowSite answers the question whether the site may ask for signatures.
func (p *Page) AllowSite() error {
	return p.do("allowing the site", settled(fmt.Sprintf(armed, "allow")), click("#allow"),
		visible("#last"))
}

// RefuseSite answers it with no.
func (p *Page) RefuseSite() error {
	return p.do("refusing the site", click("#refuse"), visible("#last"))
}

// Choose chooses the certificate whose holder's name contains name. With a
// single one there is nothing to choose, and it must be that one.
func (p *Page) Choose(name string) error {
	quoted, err := json.Marshal(name)
	if err != nil {
		return err
	}
	find := fmt.Sprintf(`[...document.querySelectorAll('.identity')].find((i) => i.querySelector('.person-name').textContent.includes(%s))`, quoted)
	if err := p.do("waiting for the certificates", settled(`document.querySelector('.identity') !== null`)); err != nil {
		return err
	}
	id, err := evaluate[string](p.robot, p.tab, "finding the certificate",
		`(() => { const i = `+find+`; return i === undefined ? '' : i.querySelector('input').hidden ? 'only' : i.htmlFor })()`)
	switch {
	case err != nil:
		return err
	case id == "":
		return fmt.Errorf("choosing the certificate: nobody named %s can sign", name)
	case id == "only":
		return nil
	}
	return p.do("choosing the certificate", click(chromedp.CSS(`[id="`+id+`"]`)))
}

// Enter types the PIN and presses Sign, once.
func (p *Page) Enter(pin string) error {
	return p.do("entering the PIN",
		visible("#pin"), chromedp.Focus(chromedp.CSS("#pin")), chromedp.SendKeys(chromedp.CSS("#pin"), pin),
		settled(fmt.Sprintf(armed, "sign")), click("#sign"))
}

// Problem waits for words about a problem (a wrong PIN) and returns them.
func (p *Page) Problem() (string, error) {
	return p.words("waiting for the problem's words", "#problem")
}

// Ended waits for the page's last words and returns them.
func (p *Page) Ended() (string, error) {
	return p.words("waiting for the end", "#last")
}

// words waits until an element has text, and returns it.
func (p *Page) words(what, selector string) (string, error) {
	text := "document.querySelector('" + selector + "')?.innerText"
	if err := p.do(what, settled(text)); err != nil {
		return "", err
	}
	return evaluate[string](p.robot, p.tab, what, text)
}

// Approve chooses the certificate, enters the PIN and waits for the end.
func (p *Page) Approve(pin, name string) error {
	if err := p.Choose(name); err != nil {
		return err
	}
	if err := p.Enter(pin); err != nil {
		return err
	}
	_, err := p.Ended()
	return err
}

// Reject rejects what is chosen with one of the protocol's reasons
// ("wrong_terms") and the signer's own words.
func (p *Page) Reject(reason, words string) error {
	if strings.ContainsAny(reason, `"\`) {
		return errors.New("invalid reason")
	}
	actions := []step{
		click("#reject"), visible("#reject-dialog"),
		click(chromedp.CSS(`#reject-dialog input[value="` + reason + `"]`)),
	}
	if words != "" {
		actions = append(actions, chromedp.SendKeys(chromedp.CSS("#reject-words"), words))
	}
	actions = append(actions, click("#reject-confirm"))
	if err := p.do("rejecting", actions...); err != nil {
		return err
	}
	_, err := p.Ended()
	return err
}

// Later puts the job off.
func (p *Page) Later() error {
	if err := p.do("putting off", click("#later")); err != nil {
		return err
	}
	_, err := p.Ended()
	return err
}

// ApprovePrompt takes the agent's next page, which must be a prompt, approves
// it and closes it.
func (r *Robot) ApprovePrompt(pin, name string) error {
	return r.withPage(func(p *Page) error { return p.Approve(pin, name) })
}

// RejectPrompt takes the agent's next page and rejects.
func (r *Robot) RejectPrompt(reason, words string) error {
	return r.withPage(func(p *Page) error { return p.Reject(reason, words) })
}

func (r *Robot) withPage(f func(*Page) error) error {
	p, err := r.OpenPage()
	if err != nil {
		return err
	}
	defer p.Close()
	if err := f(p); err != nil {
		shot, shotErr := p.Picture("agent-page")
		return errors.Join(err, noted(shot), shotErr)
	}
	return nil
}

// noted tells where the picture of a failure is.
func noted(shot string) error {
	if shot == "" {
		return nil
	}
	return fmt.Errorf("picture: %s", shot)
}
