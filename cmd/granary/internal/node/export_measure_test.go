package node

// Sample counts verdicts as a node does.
func Sample(all ...Verified) Sampled {
	var s sampled
	for _, v := range all {
		s.add(v)
	}
	return s.all
}
