package stage

import (
	"fmt"
	"path/filepath"
	"sync"

	"tanba/cmd/demo/crm"
	"tanba/testcerts"
	"tanba/testcerts/softtoken"
)

// demoPIN is the PIN of every soft token.
const demoPIN = "12345678"

// demoPUK unlocks it.
const demoPUK = "97531864"

// Those who sign. No such people or companies are meant: the numbers are of
// the right form only.
const (
	ourBIN        = "123456789013"
	theirBIN      = "987654321098"
	directorIIN   = "800101300123"
	accountantIIN = "850505400234"
	partnerIIN    = "790202300345"
)

// Names in the certificates, as the prompt shows them.
const (
	DirectorName   = "АХМЕТОВ ДАНИЯР"
	AccountantName = "ЖУМАБАЕВА АЛИЯ"
	PartnerName    = "СЕЙТКАЛИЕВ ЕРЛАН"
)

var people = []crm.Person{
	{ID: "director", Name: "Daniyar Akhmetov", Title: "Director", Company: "TOO Altyn Metall", Party: crm.Ours, IIN: directorIIN},
	{ID: "accountant", Name: "Aliya Zhumabayeva", Title: "Accountant", Company: "TOO Altyn Metall", Party: crm.Ours, IIN: accountantIIN},
	{ID: "partner", Name: "Yerlan Seitkaliyev", Title: "Director", Company: "TOO Baiterek Stroy", Party: crm.Theirs, IIN: partnerIIN},
}

// Tokens are the demo's soft tokens. They are the CRM page's Tools.
type Tokens struct {
	// Library is the PKCS#11 module, Dir the folder of its readers.
	Library, Dir string
	// Leaves are the certificates by person: director, accountant, partner.
	Leaves map[string]*testcerts.Leaf

	mu   sync.Mutex
	list []*softToken
}

type softToken struct {
	crm.SoftToken
	reader *softtoken.Reader
}

// newTokens compiles the module into dir and fills two readers: ours with the
// director's and the accountant's certificates, the counterparty's with one.
func newTokens(dir string, pki *testcerts.PKI) (*Tokens, error) {
	t := &Tokens{Dir: filepath.Join(dir, "readers"), Leaves: map[string]*testcerts.Leaf{}}
	var err error
	if t.Library, err = softtoken.Build(dir); err != nil {
		return nil, err
	}
	for person, spec := range map[string]testcerts.LeafSpec{
		"director": {Name: DirectorName, Patronymic: "СЕРИКОВИЧ", Organization: "ТОО \"АЛТЫН МЕТАЛЛ\"", Title: "Директор",
			IIN: directorIIN, BIN: ourBIN, Role: "head", Kind: testcerts.RSA2048},
		"accountant": {Name: AccountantName, Patronymic: "БОЛАТОВНА", Organization: "ТОО \"АЛТЫН МЕТАЛЛ\"", Title: "Бухгалтер",
			IIN: accountantIIN, BIN: ourBIN, Role: "employee", Kind: testcerts.P256},
		"partner": {Name: PartnerName, Patronymic: "МАРАТОВИЧ", Organization: "ТОО \"БАЙТЕРЕК СТРОЙ\"", Title: "Директор",
			IIN: partnerIIN, BIN: theirBIN, Role: "head", Kind: testcerts.P256},
	} {
		if t.Leaves[person], err = pki.Issue(spec); err != nil {
			return nil, fmt.Errorf("%s's certificate: %w", person, err)
		}
	}
	if err := t.add("altyn", "Altyn Metall", "Reader 1", "DEMO0001", "director", "accountant"); err != nil {
		return nil, err
	}
	return t, t.add("baiterek", "Baiterek Stroy", "Reader 2", "DEMO0002", "partner")
}

func (t *Tokens) add(id, label, reader, serial string, persons ...string) error {
	r, err := softtoken.Create(t.Dir, reader, softtoken.Info{
		Label: label, Serial: serial, Manufacturer: "Tanba demo", Model: "soft token", PIN: demoPIN, PUK: demoPUK,
	})
	if err != nil {
		return fmt.Errorf("soft token %s: %w", label, err)
	}
	for i, p := range persons {
		if err := r.AddLeaf(p, t.Leaves[p], []byte{byte(i + 1)}); err != nil {
			return fmt.Errorf("soft token %s: %w", label, err)
		}
	}
	t.list = append(t.list, &softToken{crm.SoftToken{ID: id, Name: label + "’s token", In: true}, r})
	return nil
}

// Env holds the variables by which the module finds its readers.
func (t *Tokens) Env() []string { return []string{softtoken.EnvDir + "=" + t.Dir} }

// Reader returns a token's reader, "altyn" or "baiterek", for its faults; nil
// if there is none.
func (t *Tokens) Reader(id string) *softtoken.Reader {
	for _, s := range t.list {
		if s.ID == id {
			return s.reader
		}
	}
	return nil
}

// Tokens implements crm.Tools.
func (t *Tokens) Tokens() []crm.SoftToken {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []crm.SoftToken
	for _, s := range t.list {
		out = append(out, s.SoftToken)
	}
	return out
}

// Insert implements crm.Tools.
func (t *Tokens) Insert(id string) error { return t.move(id, true) }

// Pull implements crm.Tools.
func (t *Tokens) Pull(id string) error { return t.move(id, false) }

func (t *Tokens) move(id string, in bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.list {
		if s.ID != id {
			continue
		}
		move := s.reader.Pull
		if in {
			move = s.reader.Insert
		}
		if err := move(); err != nil {
			return fmt.Errorf("moving the token: %w", err)
		}
		s.In = in
		return nil
	}
	return fmt.Errorf("no soft token %q", id)
}
