package remote

import (
	"bufio"
	"errors"
	"os"
	"strconv"
	"time"
)

// Bounds of what a token process may write to its standard error, each second
// and in one line.
const (
	maxLine  = 1 << 10
	maxLines = 50
)

// drain takes the process's standard error to the log at debug level. While a
// PIN is in use only the lengths go there: libraries print what they like.
func (c *child) drain(r *os.File) {
	defer closeAll(r)
	in := bufio.NewReaderSize(r, maxLine)
	second := time.NewTicker(time.Second)
	defer second.Stop()
	lines := 0
	for {
		line, err := in.ReadSlice('\n')
		if n := len(line); n > 0 {
			select {
			case <-second.C:
				lines = 0
			default:
			}
			if lines++; lines <= maxLines {
				if c.secret.Load() > 0 {
					c.log.Debug("token process says", "bytes", n)
				} else {
					c.log.Debug("token process says", "line", strconv.QuoteToASCII(string(line)))
				}
			}
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}
