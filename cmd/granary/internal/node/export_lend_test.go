package node

// Needy chooses the pieces that fewest others hold.
var Needy = needy
