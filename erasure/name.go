package erasure

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxName bounds a name in bytes: with ParitySuffix it stays below the 255
// that common file systems allow, with room for a client's own suffix.
const maxName = 200

// ErrName reports a name that could not be a file's on every system.
var ErrName = errors.New("name cannot name a block")

// refused are the code points that no name may hold, as inclusive ranges in
// ascending order. They are listed, not looked up, so that every node decides
// alike whatever Unicode tables it was built with.
var refused = [...][2]rune{
	{0x0000, 0x001F}, // control characters
	{'"', '"'},
	{'*', '*'},
	{'/', '/'},
	{':', ':'},
	{'<', '<'},
	{'>', '?'},
	{'\\', '\\'},
	{'|', '|'},
	{0x007F, 0x009F},   // control characters
	{0x00AD, 0x00AD},   // soft hyphen
	{0x061C, 0x061C},   // bidi mark
	{0x180E, 0x180E},   // invisible separator
	{0x200B, 0x200B},   // zero-width space
	{0x200E, 0x200F},   // bidi marks
	{0x2028, 0x202E},   // line and paragraph separators, bidi embeddings and overrides
	{0x2060, 0x206F},   // invisible operators, bidi isolates, deprecated controls
	{0xFDD0, 0xFDEF},   // noncharacters
	{0xFEFF, 0xFEFF},   // byte order mark
	{0xFFF9, 0xFFFF},   // interlinear marks, replacements, noncharacters
	{0xE0000, 0xE0FFF}, // tags and other invisible characters
}

// blank are the code points that a name may hold, but not at either end.
var blank = [...][2]rune{
	{' ', ' '},
	{'.', '.'},
	{0x00A0, 0x00A0},
	{0x1680, 0x1680},
	{0x2000, 0x200A},
	{0x202F, 0x202F},
	{0x205F, 0x205F},
	{0x3000, 0x3000},
}

// devices are the names that Windows keeps for itself, with any extension;
// those that end in "#" stand for ten digits and three superscripts.
var devices = [...]string{"CON", "PRN", "AUX", "NUL", "CLOCK$", "CONIN$", "CONOUT$", "COM#", "LPT#"}

// CheckName returns ErrName unless name is 1 to 200 bytes of UTF-8 that can be
// a file's name on every system, next to the parity's; docs/spec/block.md has
// the rules. It does not normalise: names that look alike may differ.
func CheckName(name string) error {
	if len(name) < 1 || len(name) > maxName {
		return fmt.Errorf("%w: %d bytes, want 1 to %d", ErrName, len(name), maxName)
	}
	if !utf8.ValidString(name) {
		return fmt.Errorf("%w: %q is not UTF-8", ErrName, name)
	}
	for _, r := range name {
		// The last two code points of every plane are noncharacters.
		if within(refused[:], r) || r&0xFFFE == 0xFFFE {
			return fmt.Errorf("%w: %q holds %U", ErrName, name, r)
		}
	}
	first, _ := utf8.DecodeRuneInString(name)
	last, _ := utf8.DecodeLastRuneInString(name)
	if within(blank[:], first) || within(blank[:], last) {
		return fmt.Errorf("%w: %q begins or ends with a dot or a space", ErrName, name)
	}
	upper := upperASCII(name)
	if strings.HasSuffix(upper, upperASCII(ParitySuffix)) {
		return fmt.Errorf("%w: %q is the name of a parity file", ErrName, name)
	}
	if isDevice(upper) {
		return fmt.Errorf("%w: %q is a device on Windows", ErrName, name)
	}
	return nil
}

func within(ranges [][2]rune, r rune) bool {
	for _, in := range ranges {
		if in[0] <= r && r <= in[1] {
			return true
		}
	}
	return false
}

// upperASCII maps a-z to A-Z and nothing else.
func upperASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' {
			return r - 'a' + 'A'
		}
		return r
	}, s)
}

func isDevice(upper string) bool {
	stem, _, _ := strings.Cut(upper, ".")
	stem = strings.TrimRight(stem, " ")
	for _, device := range devices {
		if stem == device {
			return true
		}
		port, numbered := strings.CutSuffix(device, "#")
		if n, ok := strings.CutPrefix(stem, port); numbered && ok && utf8.RuneCountInString(n) == 1 && strings.Contains("0123456789¹²³", n) {
			return true
		}
	}
	return false
}
