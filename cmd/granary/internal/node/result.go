package node

import "net/netip"

// PublishResult is what `granary publish` reports.
type PublishResult struct {
	Record
	EncodeMS   int64 `json:"encode_ms"`  // from the first byte to fsynced rows
	Custodians int   `json:"custodians"` // that hold their whole share
}

// Result returns p as it is reported.
func (p Published) Result() PublishResult {
	return PublishResult{
		Record:   NewRecord(p.Block.Bundle().Info),
		EncodeMS: p.Encoded.Milliseconds(), Custodians: len(p.Holders),
	}
}

// FetchResult is what `granary get` reports of the download.
type FetchResult struct {
	Record
	BytesRead int64        `json:"bytes_read"` // payload received from peers
	RowsUsed  int          `json:"rows_held"`  // rows held when decoding began; 0: the block was whole
	Peers     int          `json:"peers"`
	Banned    []netip.Addr `json:"banned,omitempty"` // sent wrong bytes
	TookMS    int64        `json:"took_ms"`
}

// Result returns f as it is reported.
func (f Fetched) Result() FetchResult {
	return FetchResult{
		Record:    NewRecord(f.Block.Bundle().Info),
		BytesRead: f.Read, RowsUsed: f.Rows, Peers: f.Peers, Banned: f.Banned,
		TookMS: f.Took.Milliseconds(),
	}
}
