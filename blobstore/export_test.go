package blobstore

// WithStep has step called at each named step of every write path, and, as "read",
// before bytes of a piece are read; an error it returns fails the step. A test that kills its process there shows what a
// crash at that point leaves behind.
func (c Config) WithStep(step func(name string) error) Config {
	c.step = step
	return c
}
