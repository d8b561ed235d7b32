package crm

import (
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"tanba/cmd/demo/paper"
)

// The companies of the demo. No such companies are meant.
const (
	us      = "TOO Altyn Metall"
	address = "Almaty, 10 Abay Avenue · BIN 123456789013"
)

// seed writes the people, and the deals when there are none.
func (s *Server) seed() error {
	deals, err := all[Deal](s.store, bucketDeals)
	if err != nil {
		return err
	}
	return s.store.db.Update(func(tx *bbolt.Tx) error {
		for _, p := range s.cfg.People {
			old, err := get[Person](tx, bucketPeople, p.ID)
			if err != nil && !errors.Is(err, errNotFound) {
				return err
			}
			p.Key = old.Key
			if err := put(tx, bucketPeople, p.ID, p); err != nil {
				return err
			}
		}
		if len(deals) > 0 {
			return nil
		}
		made, err := s.sampleDeals(s.cfg.Now().UTC())
		if err != nil {
			return err
		}
		for _, d := range made {
			if err := put(tx, bucketDeals, d.ID, d); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Server) document(d *Deal, id, name, format, kind string, data []byte) error {
	b, err := s.files.Put(data)
	d.Documents = append(d.Documents, &Document{ID: id, Name: name, MediaType: kind, Format: format, Original: b, Ours: Unsent, Theirs: Unsent})
	return err
}

func (s *Server) contract(d *Deal, id, name string, sheet *paper.Sheet) error {
	return s.document(d, id, name, formatPAdES, "application/pdf", sheet.PDF())
}

func (s *Server) sampleDeals(now time.Time) ([]*Deal, error) {
	steel := &Deal{
		ID: "41", Number: "D-41", Title: "Поставка арматуры А500С", Counterparty: "TOO Baiterek Stroy", Amount: "48 600 000 ₸", Way: ByURL,
		Roles: []string{"head"}, About: "One contract. The agent fetches it with a one-time bearer.",
	}
	lease := &Deal{
		ID: "42", Number: "D-42", Title: "Аренда склада, Алматы", Counterparty: "TOO Baiterek Stroy", Amount: "1 250 000 ₸ / month", Way: ByChunks,
		Roles: []string{"head"}, About: "A contract and an acceptance note. The page itself hands them to the agent, the large one in chunks.",
	}
	service := &Deal{
		ID: "43", Number: "D-43", Title: "Қызмет көрсету шарты", Counterparty: "TOO Baiterek Stroy", Amount: "3 400 000 ₸", Way: Inline,
		About: "One contract, inside the page’s request. The accountant may sign it too.",
	}
	note := &Deal{
		ID: "44", Number: "D-44", Title: "Акт приёма товара", Counterparty: "TOO Baiterek Stroy", Amount: "—", Way: ByURL,
		About: "A text file. Its signature is a file beside it (CMS, detached).",
	}
	batch := &Deal{
		ID: "45", Number: "D-45", Title: "50 актов выполненных работ", Counterparty: "TOO Baiterek Stroy", Amount: "25 000 000 ₸", Way: ByURL,
		Roles: []string{"head"}, About: "Fifty documents, one approval, one PIN.",
	}
	err := errors.Join(
		s.contract(steel, "contract", "supply-contract-D-41.pdf", supplySheet(now)),
		s.contract(lease, "lease", "lease-D-42.pdf", leaseSheet(now)),
		s.document(lease, "note", "acceptance-note-D-42.txt", formatCAdES, "text/plain", []byte(acceptanceNote("D-42", "Warehouse 7, 840 m2, keys and meter readings handed over.", now))),
		s.contract(service, "contract", "services-D-43.pdf", serviceSheet(now)),
		s.document(note, "note", "acceptance-note-D-44.txt", formatCAdES, "text/plain", []byte(acceptanceNote("D-44", "Rebar A500C, 12 mm: 90.4 t. No shortage, no damage.", now))),
	)
	for i := range 50 {
		err = errors.Join(err, s.contract(batch, fmt.Sprintf("act-%02d", i+1), fmt.Sprintf("act-%02d-of-50.pdf", i+1), actSheet(i+1, now)))
	}
	return []*Deal{steel, lease, service, note, batch}, err
}

func acceptanceNote(number, text string, now time.Time) string {
	return "ACCEPTANCE NOTE\r\nDeal " + number + ", " + now.Format("2006-01-02") + "\r\n\r\n" + text +
		"\r\n\r\nАкт приёма-передачи. Стороны претензий не имеют.\r\nҚабылдау-тапсыру актісі. Тараптардың шағымы жоқ.\r\n"
}
