package node

// Denier has the deny list of a home as the file at a path last had it.
type Denier struct{ d *denier }

// OpenDenier reads the list.
func OpenDenier(path string) (Denier, error) {
	d, err := openDenier(path)
	return Denier{d}, err
}

// Look is what a node does every two seconds.
func (d Denier) Look() error {
	_, _, err := d.d.reload()
	return err
}

// List returns the list in force.
func (d Denier) List() DenyList { return d.d.now() }

// Err is what `granary status` says of the file.
func (d Denier) Err() string { return d.d.status().Err }
