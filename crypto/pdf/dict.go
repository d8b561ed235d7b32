package pdf

// A Dict is a dictionary as a list of keys and values in the order of the
// file. What is not changed is written back byte for byte.
type Dict struct {
	entries []dictEntry
}

type dictEntry struct {
	key   []byte // raw, with its solidus
	value Value
}

func (e dictEntry) is(key string) bool {
	raw := e.key[1:]
	if string(raw) == key {
		return true
	}
	for _, c := range raw {
		if c == '#' {
			return decodeName(raw) == key
		}
	}
	return false
}

// Get returns the value of key, a missing Value if there is none. Of a key
// that stands twice the last counts, as in most readers.
func (d *Dict) Get(key string) Value {
	for i := len(d.entries) - 1; i >= 0; i-- {
		if d.entries[i].is(key) {
			return d.entries[i].value
		}
	}
	return Value{}
}

// Count returns how often key stands in d.
func (d *Dict) Count(key string) int {
	n := 0
	for _, e := range d.entries {
		if e.is(key) {
			n++
		}
	}
	return n
}

// Set makes raw the value of key: in its place if the key is there, otherwise
// at the end.
func (d *Dict) Set(key string, raw []byte) {
	done := false
	kept := d.entries[:0]
	for _, e := range d.entries {
		if !e.is(key) {
			kept = append(kept, e)
		} else if !done {
			done = true
			kept = append(kept, dictEntry{e.key, Value{raw, -1}})
		}
	}
	d.entries = kept
	if !done {
		d.entries = append(d.entries, dictEntry{[]byte("/" + key), Value{raw, -1}})
	}
}

// Delete removes key.
func (d *Dict) Delete(key string) {
	kept := d.entries[:0]
	for _, e := range d.entries {
		if !e.is(key) {
			kept = append(kept, e)
		}
	}
	d.entries = kept
}

// Clone returns a copy that can be changed without changing d.
func (d *Dict) Clone() *Dict {
	return &Dict{entries: append(make([]dictEntry, 0, len(d.entries)+2), d.entries...)}
}

// Append appends the dictionary to b, a line for each key.
func (d *Dict) Append(b []byte) []byte {
	b = append(b, "<<\n"...)
	for _, e := range d.entries {
		b = append(b, e.key...)
		b = append(b, ' ')
		b = append(b, e.value.Raw...)
		b = append(b, '\n')
	}
	return append(b, ">>"...)
}
