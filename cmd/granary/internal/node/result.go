package node

import (
	"net/netip"

	"granary/ledger"
)

// PublishResult is what `granary publish` reports.
type PublishResult struct {
	Record
	EncodeMS   int64  `json:"encode_ms"` // from the first byte to fsynced rows
	Index      uint64 `json:"index"`     // of the announcement in the log
	Status     string `json:"status"`    // "pending" or "certified"
	Height     int64  `json:"certified_height,omitempty"`
	Power      int64  `json:"voting_power"` // that attested by now
	Total      int64  `json:"total_power"`
	Paid       int64  `json:"paid"`                 // credits; 0 if it was announced before
	CertifyMS  int64  `json:"certify_ms"`           // from submission to the certificate
	Custodians int    `json:"custodians,omitempty"` // that hold their whole share, if it was waited for
}

// Result returns p as it is reported.
func (p Published) Result() PublishResult {
	r := PublishResult{
		Record:   NewRecord(p.Block.Bundle().Info),
		EncodeMS: p.Encoded.Milliseconds(), CertifyMS: p.Took.Milliseconds(), Custodians: len(p.Holders), Paid: p.Paid,
		Index: p.Found.Index, Status: p.Found.Status.String(), Power: p.Found.Power, Total: p.Found.Total,
	}
	if p.Found.Status == ledger.Certified {
		r.Height, r.Power = p.Found.Outcome.Height, p.Found.Outcome.Outcome.Power
	}
	return r
}

// FetchResult is what `granary get` reports of the download.
type FetchResult struct {
	Record
	BytesRead int64        `json:"bytes_read"` // payload received from peers
	RowsUsed  int          `json:"rows_held"`  // rows held when decoding began; 0: the block was whole
	Peers     int          `json:"peers"`
	Banned    []netip.Addr `json:"banned,omitempty"` // sent wrong bytes
	Ledger    string       `json:"ledger"`           // "certified", "pending", "expired", "unknown to it" or "not reached"
	Height    int64        `json:"certified_height,omitempty"`
	TookMS    int64        `json:"took_ms"`
}

// Result returns f as it is reported.
func (f Fetched) Result() FetchResult {
	return FetchResult{
		Record:    NewRecord(f.Block.Bundle().Info),
		BytesRead: f.Read, RowsUsed: f.Rows, Peers: f.Peers, Banned: f.Banned,
		Ledger: f.Ledger, Height: f.Height,
		TookMS: f.Took.Milliseconds(),
	}
}
