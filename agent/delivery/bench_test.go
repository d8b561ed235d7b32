package delivery

import (
	"fmt"
	"testing"
)

// BenchmarkBatch commits and delivers 1,000 documents of 20 kB to a server in
// the same process that checks each.
func BenchmarkBatch(b *testing.B) {
	c := newCRM(b, nil)
	o := openOutbox(b, testConfig(b, b.TempDir(), c.rootFile(b)))
	run(b, o)
	docs := make([]string, 1000)
	for i := range docs {
		docs[i] = fmt.Sprintf("d%04d", i)
	}
	n := 0
	for b.Loop() {
		n++
		req := request(c.URL, fmt.Sprint("j", n), "/in")
		commit(b, o, req, 20_000, docs...)
		await(b, o, req)
		c.got(b)
		c.mu.Lock()
		c.posts = nil
		c.mu.Unlock()
	}
	b.ReportMetric(float64(n*1000)/b.Elapsed().Seconds(), "documents/s")
}
