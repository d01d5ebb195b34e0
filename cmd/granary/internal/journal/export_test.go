package journal

// ParseDraw reads the file of a test.
var ParseDraw = parseDraw
