package erasure

// Info is what a block's ID commits to: every field of the torrent's info
// dictionary that is not fixed by the format.
type Info struct {
	Name      string   // the content file's name; the parity file is Name + ".parity"
	Length    int64    // content length in bytes, 1 ≤ Length ≤ MaxLength
	Content   Root     // pieces root of the padded content
	Parity    Root     // pieces root of the parity
	ProofHash [32]byte // SHA-256 of the proof vector
}
