package pdf

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
)

// An Update is one incremental update in the making (clause 7.5.6). It holds
// only what is new.
type Update struct {
	f       *File
	next    int
	objects []updated
	offsets map[int]int64 // of bodies, after Bytes
}

type updated struct {
	ref  Ref
	body []byte
}

// NewUpdate begins an update of f.
func (f *File) NewUpdate() *Update { return &Update{f: f, next: max(f.next, 1)} }

// New returns a number that the file does not use, with generation 0.
func (u *Update) New() Ref {
	u.next++
	return Ref{Num: u.next - 1}
}

// Put writes body as the object ref. An object that is put twice with different
// bodies, because a file uses one object for two things, is ErrMalformed in
// Bytes.
func (u *Update) Put(ref Ref, body []byte) {
	u.objects = append(u.objects, updated{ref, body})
}

// sort puts the objects in the order of their numbers.
func (u *Update) sort() error {
	slices.SortStableFunc(u.objects, func(a, b updated) int { return a.ref.Num - b.ref.Num })
	once := u.objects[:0]
	for _, o := range u.objects {
		if n := len(once); n == 0 || once[n-1].ref.Num != o.ref.Num {
			once = append(once, o)
		} else if once[n-1].ref != o.ref || !bytes.Equal(once[n-1].body, o.body) {
			return malformed("object %v is used for two things", o.ref)
		}
	}
	u.objects = once
	return nil
}

// Offset returns where the body of ref begins in the updated file, once Bytes
// has been called.
func (u *Update) Offset(ref Ref) (int64, bool) {
	off, ok := u.offsets[ref.Num]
	return off, ok
}

// Bytes returns what is to be appended to the file: the objects, the
// cross-reference section of the kind of the newest one (a table for a hybrid
// file), and the trailer with a fresh second ID.
func (u *Update) Bytes() ([]byte, error) {
	if u.f.header != 0 {
		return nil, malformed("%d bytes before the header", u.f.header)
	}
	stream := u.f.sections[0].stream
	var own Ref
	if stream {
		own = u.New()
	}
	if u.next > MaxObjectNumber {
		return nil, malformed("no object number is left")
	}
	if err := u.sort(); err != nil {
		return nil, err
	}
	n := 1024
	for _, o := range u.objects {
		n += len(o.body) + 64
	}
	b := make([]byte, 0, n)
	last, err := u.f.read(u.f.size-1, 1)
	if err != nil {
		return nil, err
	}
	if last[0] != '\n' && last[0] != '\r' {
		b = append(b, '\n')
	}
	u.offsets = make(map[int]int64, len(u.objects))
	rows := make([]place, 0, len(u.objects)+1)
	for _, o := range u.objects {
		rows = append(rows, place{o.ref, u.f.size + int64(len(b))})
		b = appendHead(b, o.ref)
		u.offsets[o.ref.Num] = u.f.size + int64(len(b))
		b = append(b, o.body...)
		b = append(b, "\nendobj\n"...)
	}
	trailer, err := u.trailer()
	if err != nil {
		return nil, err
	}
	at := u.f.size + int64(len(b))
	if stream {
		rows = append(rows, place{own, at})
		b = appendStreamSection(b, own, rows, trailer)
	} else {
		if at > 9_999_999_999 {
			return nil, unsupported("a cross-reference table beyond 10 GB")
		}
		b = appendTable(b, rows)
		b = append(b, "trailer\n"...)
		b = trailer.Append(b)
	}
	b = append(b, "\nstartxref\n"...)
	b = strconv.AppendInt(b, at, 10)
	return append(b, "\n%%EOF\n"...), nil
}

type place struct {
	ref Ref
	at  int64
}

func appendHead(b []byte, ref Ref) []byte {
	b = strconv.AppendInt(b, int64(ref.Num), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(ref.Gen), 10)
	return append(b, " obj\n"...)
}

// trailer is the newest one with Size, Prev and ID brought up to date; keys
// that belong to a section are left out.
func (u *Update) trailer() (*Dict, error) {
	d := u.f.trailer.Clone()
	for _, key := range []string{"XRefStm", "Type", "W", "Index", "Length", "Filter", "DecodeParms", "DL", "F", "FFilter", "FDecodeParms"} {
		d.Delete(key)
	}
	d.Set("Size", strconv.AppendInt(nil, int64(u.next), 10))
	d.Set("Prev", strconv.AppendInt(nil, u.f.start, 10))
	id, err := u.id()
	if err != nil {
		return nil, err
	}
	d.Set("ID", id)
	return d, nil
}

// id keeps the first identifier of the file and makes a second one (clause
// 14.4).
func (u *Update) id() ([]byte, error) {
	fresh := make([]byte, 16)
	_, _ = rand.Read(fresh) // never fails: crypto/rand
	second := append(append([]byte{'<'}, hex.EncodeToString(fresh)...), '>')
	first := second
	old, _, err := u.f.Resolve(u.f.trailer.Get("ID"))
	if err != nil {
		return nil, err
	}
	if old.IsArray() {
		list, err := old.Array()
		if err != nil {
			return nil, err
		}
		if len(list) > 0 {
			if _, ok := list[0].Bytes(); ok {
				first = list[0].Raw
			}
		}
	}
	return bytes.Join([][]byte{[]byte("["), first, []byte(" "), second, []byte("]")}, nil), nil
}

// runs calls yield for each run of consecutive numbers in rows, which are
// sorted.
func runs(rows []place, yield func([]place)) {
	for from := 0; from < len(rows); {
		to := from + 1
		for to < len(rows) && rows[to].ref.Num == rows[to-1].ref.Num+1 {
			to++
		}
		yield(rows[from:to])
		from = to
	}
}

func appendTable(b []byte, rows []place) []byte {
	b = append(b, "xref\n"...)
	runs(rows, func(run []place) {
		b = fmt.Appendf(b, "%d %d\n", run[0].ref.Num, len(run))
		for _, p := range run {
			b = fmt.Appendf(b, "%010d %05d n\r\n", p.at, p.ref.Gen)
		}
	})
	return b
}

// appendStreamSection writes an uncompressed cross-reference stream.
func appendStreamSection(b []byte, own Ref, rows []place, d *Dict) []byte {
	width := 4
	for rows[len(rows)-1].at>>(8*width) != 0 {
		width++
	}
	index := []byte("[")
	var data []byte
	runs(rows, func(run []place) {
		index = fmt.Appendf(index, "%d %d ", run[0].ref.Num, len(run))
		for _, p := range run {
			data = append(data, 1)
			for i := width - 1; i >= 0; i-- {
				data = append(data, byte(p.at>>(8*i)))
			}
			data = append(data, byte(p.ref.Gen>>8), byte(p.ref.Gen))
		}
	})
	index[len(index)-1] = ']'
	d.Set("Type", []byte("/XRef"))
	d.Set("W", fmt.Appendf(nil, "[1 %d 2]", width))
	d.Set("Index", index)
	d.Set("Length", strconv.AppendInt(nil, int64(len(data)), 10))
	b = appendHead(b, own)
	b = d.Append(b)
	b = append(b, "\nstream\n"...)
	b = append(b, data...)
	return append(b, "\nendstream\nendobj"...)
}
