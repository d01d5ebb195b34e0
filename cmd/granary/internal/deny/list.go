// Package deny keeps a home's deny list: what its owner wants neither stored nor
// served, attested or sampled.
package deny

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strings"

	"granary/erasure"
	"granary/ledger"
)

// ErrDenied reports a block that the home's deny list names.
var ErrDenied = errors.New("this home denies the block")

// ErrList reports a deny list that cannot be read. A node does not start with
// one, rather than keep what its owner wants to be rid of.
var ErrList = errors.New("deny list refused")

// List is what a home neither stores for others nor serves, attests or
// samples.
type List struct {
	Blocks     map[erasure.ID]bool
	Publishers map[ledger.PublicKey]bool
	Namespaces map[string]bool
}

// Parse reads a deny list: a line for each thing denied, `block ID`,
// `publisher KEY` or `namespace NAME`. Empty lines, and what follows a #, count for
// nothing. It returns ErrList with the number of the line.
func Parse(raw []byte) (List, error) {
	l := List{map[erasure.ID]bool{}, map[ledger.PublicKey]bool{}, map[string]bool{}}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for number := 1; lines.Scan(); number++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		if err := l.add(words); err != nil {
			return List{}, fmt.Errorf("%w: line %d: %w", ErrList, number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return List{}, fmt.Errorf("%w: %w", ErrList, err)
	}
	return l, nil
}

func (l List) add(words []string) error {
	if len(words) != 2 {
		return errors.New("want `block ID`, `publisher KEY` or `namespace NAME`")
	}
	switch what := words[1]; words[0] {
	case "block":
		id, err := erasure.ParseID(what)
		l.Blocks[id] = true
		return err
	case "publisher":
		var key ledger.PublicKey
		err := key.UnmarshalText([]byte(what))
		l.Publishers[key] = true
		return err
	case "namespace":
		l.Namespaces[what] = true
		return ledger.CheckName(what)
	}
	return fmt.Errorf("%q is none of block, publisher and namespace", words[0])
}

// Denies reports whether a block is denied that was announced by a publisher in a
// namespace, as far as these are known.
func (l List) Denies(id erasure.ID, publisher ledger.PublicKey, namespace string) bool {
	return l.Blocks[id] || l.Publishers[publisher] || namespace != "" && l.Namespaces[namespace]
}

// Announcers reports whether it matters who announced a block.
func (l List) Announcers() bool { return len(l.Publishers)+len(l.Namespaces) > 0 }
