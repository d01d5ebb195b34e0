// Package folder codes files without any network: it writes an encoded block
// as a folder of plain files and restores the content from whatever is left
// of one.
//
//	content       the content, zero-padded to whole rows
//	parity        as many rows again
//	proof         the proof vector, 16 bytes for each content row
//	NAME.torrent  a BitTorrent v2 torrent of NAME and NAME.parity
//	record.json   the same in terms that people and scripts read
//
// NAME.torrent or record.json must be left, and any k rows that can be told
// from damaged ones: by the proof vector, by the torrent's piece hashes, or,
// for a file that is complete, by its root. What is restored is checked
// against both roots and the proof vector before it gets its name.
package folder
