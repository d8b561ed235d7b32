package crm

import (
	"fmt"
	"time"

	"tanba/cmd/demo/paper"
)

func sides(ours, theirs string) []paper.Side {
	return []paper.Side{
		{Caption: ours, Lines: []string{us, "BIN 123456789013", "IIK KZ00 0000 0000 0000 0001", "Director, acting on the Charter"}},
		{Caption: theirs, Lines: []string{"TOO Baiterek Stroy", "BIN 987654321098", "IIK KZ00 0000 0000 0000 0002", "Director, acting on the Charter"}},
	}
}

func sheetFor(title, number string, now time.Time, blocks ...paper.Block) *paper.Sheet {
	return &paper.Sheet{Company: us, Address: address, Title: title, Number: number, Place: "Almaty", Date: now, Blocks: blocks}
}

func head(t string) paper.Block { return paper.Block{Heading: t} }
func para(t string) paper.Block { return paper.Block{Text: t} }

func supplySheet(now time.Time) *paper.Sheet {
	s := sheetFor("Supply contract", "No. D-41", now,
		para("TOO Altyn Metall, represented by its Director acting on the Charter (the Supplier), and TOO Baiterek Stroy, represented by its Director acting on the Charter (the Buyer), have made this contract as follows."),
		head("1. Subject"),
		para("1.1. The Supplier shall deliver, and the Buyer shall accept and pay for, reinforcing steel of the grades, quantities and prices below (the Goods)."),
		paper.Block{Table: &paper.Table{
			Head: []string{"Goods", "Tonnes", "KZT / t", "Amount, KZT"},
			Rows: [][]string{
				{"Rebar A500C, 10 mm, GOST 34028-2016", "20.0", "405 000", "8 100 000"},
				{"Rebar A500C, 12 mm, GOST 34028-2016", "60.0", "405 000", "24 300 000"},
				{"Rebar A500C, 16 mm, GOST 34028-2016", "30.0", "400 000", "12 000 000"},
				{"Tying wire, 1.2 mm", "7.0", "600 000", "4 200 000"},
			},
			Total: "48 600 000",
		}},
		head("2. Delivery"),
		para("2.1. The Goods are delivered to the Buyer's site at Astana, Left Bank, within 20 calendar days of the prepayment, in lots of not less than 20 tonnes."),
		para("2.2. The Buyer checks quantity and visible defects on the day of arrival and confirms acceptance by an acceptance note signed electronically by both parties."),
		head("3. Price and payment"),
		para("3.1. The price of the contract is 48 600 000 (forty-eight million six hundred thousand) tenge, VAT included."),
		para("3.2. The Buyer pays 30 % within five banking days of signing, and the rest within ten banking days of acceptance of each lot."),
		head("4. Liability"),
		para("4.1. For each day of delay the party at fault pays 0.1 % of the delayed amount, but not more than 10 % of it in total."),
		para("4.2. Neither party answers for failure caused by circumstances beyond its control, if it told the other within five days of learning of them."),
		head("5. Electronic form"),
		para("5.1. This contract is made as an electronic document and signed with electronic digital signatures. Each party keeps the signed file; no paper copy is made."),
		para("5.2. It takes effect when the second party has signed it, and stays in force until both have performed it."))
	s.Sides = sides("The Supplier", "The Buyer")
	return s
}

func leaseSheet(now time.Time) *paper.Sheet {
	s := sheetFor("Lease of a warehouse", "No. D-42", now,
		para("TOO Baiterek Stroy (the Landlord) and TOO Altyn Metall (the Tenant) have made this contract as follows."),
		head("1. Subject"),
		para("1.1. The Landlord lets, and the Tenant takes, Warehouse 7 at Almaty, 218 Ryskulov Avenue, of 840 square metres, with a ramp, a 5-tonne crane beam and two gates."),
		para("1.2. The warehouse is handed over by an acceptance note, which is part of this contract."),
		head("2. Term"),
		para("2.1. The lease runs for eleven months from the day of hand-over. If neither party objects a month before its end, it is renewed for the same term."),
		head("3. Rent"),
		para("3.1. The rent is 1 250 000 tenge a month, VAT included, paid by the fifth day of each month. Electricity is paid by meter."),
		head("4. Use and repair"),
		para("4.1. The Tenant keeps the warehouse clean and dry, observes the fire rules, and does not sublet without the Landlord's consent."),
		para("4.2. The Landlord keeps roof, walls, gates and the crane beam in working order."),
		head("Plan of Warehouse 7"),
		paper.Block{Picture: warehousePlan()})
	s.Sides = sides("The Tenant", "The Landlord")
	return s
}

func serviceSheet(now time.Time) *paper.Sheet {
	s := sheetFor("Services agreement", "No. D-43", now,
		para("TOO Altyn Metall (the Client) and TOO Baiterek Stroy (the Contractor) have made this agreement as follows."),
		head("1. Services"),
		para("1.1. The Contractor services the Client's overhead cranes: monthly inspection, lubrication, adjustment of brakes, replacement of worn ropes."),
		paper.Block{Table: &paper.Table{
			Head:  []string{"Service", "Times", "KZT each", "Amount, KZT"},
			Rows:  [][]string{{"Monthly inspection", "12", "200 000", "2 400 000"}, {"Replacement of ropes", "2", "350 000", "700 000"}, {"Call-out at night", "3", "100 000", "300 000"}},
			Total: "3 400 000",
		}},
		head("2. Acceptance"),
		para("2.1. Each month's services are accepted by an act signed electronically. An act to which the Client has not objected within five working days counts as accepted."))
	s.Sides = sides("The Client", "The Contractor")
	return s
}

func actSheet(n int, now time.Time) *paper.Sheet {
	amount := 300_000 + 8_000*n - 4_000 // fifty of them: 25 000 000
	s := sheetFor("Act of completed works", fmt.Sprintf("No. %d of 50 to D-45", n), now,
		para(fmt.Sprintf("The Contractor has done, and the Client has accepted, the works of stage %d. The works are complete and the parties have no claims.", n)),
		paper.Block{Table: &paper.Table{
			Head: []string{"Works", "Amount, KZT"},
			Rows: [][]string{{fmt.Sprintf("Installation of reinforcement, section %d", n), fmt.Sprintf("%d", amount)}},
		}})
	s.Sides = sides("The Contractor", "The Client")
	return s
}

// warehousePlan draws the plan as a scanner would have it: more than a
// megabyte, so that the contract goes to the agent in several chunks.
func warehousePlan() *paper.Picture {
	p := &paper.Picture{Width: 1400, Height: 900}
	p.Gray = make([]byte, p.Width*p.Height)
	for i := range p.Gray {
		p.Gray[i] = 250
	}
	fill := func(x, y, w, h int, c byte) {
		for j := y; j < y+h; j++ {
			for i := x; i < x+w; i++ {
				p.Gray[j*p.Width+i] = c
			}
		}
	}
	frame := func(x, y, w, h, thick int, c byte) {
		fill(x, y, w, thick, c)
		fill(x, y+h-thick, w, thick, c)
		fill(x, y, thick, h, c)
		fill(x+w-thick, y, thick, h, c)
	}
	frame(80, 80, 1240, 740, 14, 40) // outer walls
	fill(420, 80, 10, 250, 70)       // office
	fill(80, 330, 350, 10, 70)
	fill(300, 330, 70, 10, 250)      // its door
	fill(560, 806, 180, 14, 250)     // the gates
	fill(960, 806, 180, 14, 250)     //
	frame(540, 834, 640, 40, 3, 120) // the ramp
	for i := range 5 {
		frame(520+150*i, 150, 100, 420, 3, 150) // racks
		for j := range 6 {
			fill(530+150*i, 160+68*j, 80, 56, 225)
		}
	}
	for x := 100; x < 1300; x += 28 {
		fill(x, 640, 16, 3, 100) // the crane beam
	}
	return p
}
