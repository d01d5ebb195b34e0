package node

// Waiting says what a fetch waits for.
var Waiting = waiting
