"""PARA: tests which of the paper's claims hold on 31,220 photographs with mean ratings."""
