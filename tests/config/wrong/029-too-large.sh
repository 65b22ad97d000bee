# More than 1 MiB.
i=0
while [ $i -lt 16500 ]; do
    echo '# a comment of sixty-four bytes, which is nothing but a comment.'
    i=$((i + 1))
done
